"""Small data sets as their owners have them: pictures of noise, and squares annotated on them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 64, 80
CLASSES = {1: "cat", 2: "dog"}


def noise(seed: int, height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> NDArray[np.uint8]:
    """[height, width, channels] of random values."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def square(x: float = 10, y: float = 12, side: float = 20, **changes: Any) -> dict[str, Any]:
    """An object of class 1 without its ids."""
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    box = {"bbox": [x, y, side, side], "area": side * side, "segmentation": [corners]}
    return {"category_id": 1, "iscrowd": 0, **box, **changes}


def write_annotations(
    path: Path,
    objects: Mapping[str, Sequence[dict[str, Any]]],
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    classes: Mapping[int, str] = CLASSES,
) -> Path:
    """Write the objects of each picture, all of one (height, width), as a COCO file."""
    names = {name: number for number, name in enumerate(objects, start=1)}
    images = [{"id": number, "file_name": name, "height": size[0], "width": size[1]} for name, number in names.items()]
    entries = [{**each, "image_id": names[name]} for name, group in objects.items() for each in group]
    content = {
        "images": images,
        "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
        "categories": [{"id": number, "name": name} for number, name in classes.items()],
    }
    path.write_text(json.dumps(content))
    return path


def write_own_data(
    folder: Path, objects: Mapping[str, Sequence[dict[str, Any]]], *, seed: int = 0, **options: Any
) -> tuple[Path, Path]:
    """Write annotations, and a picture of noise for each name; returns the file and the folder of the pictures."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    height, width = options.get("size", (HEIGHT, WIDTH))
    for number, name in enumerate(objects):
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(1000 * seed + number, height, width)).save(path)
    return write_annotations(folder / "train.json", objects, **options), images


def clean(count: int = 12) -> dict[str, list[dict[str, Any]]]:
    """Objects of two classes on so many pictures, with which nothing is wrong."""
    return {f"{number}.png": [square(), square(45, 30, 25, category_id=2)] for number in range(count)}
