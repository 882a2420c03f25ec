"""One small data set as the files of each annotation format, written here without a line of the readers."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 20, 30
SQUARE = [3.0, 4.0, 11.0, 4.0, 11.0, 12.5, 3.0, 12.5]
TRIANGLE = [15.0, 2.0, 27.0, 3.0, 20.0, 14.0]
NAMES = ("cat", "dog")
ORIENTATION = 274


@dataclass(frozen=True)
class Places:
    """Where a data set was written."""

    annotations: Path
    images: Path


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH, orientation: int = 1) -> Path:
    """Write a black picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)
    return path


def text(path: Path, content: str) -> Path:
    """Write a text file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def label_map(seed: int = 0, objects: int = 5) -> NDArray[np.uint8]:
    """Values 0 to ``objects`` in blocks, so that an object has several parts."""
    blocks = np.random.default_rng(seed).integers(0, objects + 1, (HEIGHT // 5, WIDTH // 5), dtype=np.uint8)
    blocks[0, : objects + 1] = range(objects + 1)
    return np.kron(blocks, np.ones((5, 5), np.uint8))


def voc_palette() -> list[int]:
    """The palette of VOC, as its development kit makes it."""
    palette = np.zeros((256, 3), np.uint8)
    for value in range(256):
        rest = value
        for bit in range(8):
            for channel in range(3):
                palette[value, channel] |= ((rest >> channel) & 1) << (7 - bit)
            rest >>= 3
    return palette.ravel().tolist()


def save_palette(path: Path, values: NDArray[np.uint8]) -> Path:
    """Write values as a PNG with the palette of VOC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values, "P")
    image.putpalette(voc_palette())
    image.save(path)
    return path


def yolo_line(category: int, polygon: Sequence[float], height: int = HEIGHT, width: int = WIDTH) -> str:
    """A line of a file of labels, with six digits as Ultralytics writes it."""
    return " ".join([str(category), *(f"{v / (height if i % 2 else width):.6f}" for i, v in enumerate(polygon))])


def yolo(root: Path) -> Places:
    """YOLO with two splits: two pictures to train on, of which one is empty, and one to validate."""
    for name in ("train/a.jpg", "train/b.jpg", "val/c.jpg"):
        picture(root / "images" / name)
    text(root / "labels" / "train" / "a.txt", f"{yolo_line(1, SQUARE)}\n{yolo_line(0, TRIANGLE)}\n")
    text(root / "labels" / "train" / "b.txt", "")
    text(root / "labels" / "val" / "c.txt", yolo_line(0, SQUARE))
    data = text(root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    return Places(data, root / "images")


def labelme_file(path: Path, shapes: Sequence[dict[str, Any]], **fields: Any) -> Path:
    """A file of labelme for the picture of the same name beside it."""
    content: dict[str, Any] = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{path.stem}.jpg"}
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    return text(path, json.dumps(content | fields))


def shape(label: Any, polygon: Sequence[Any], kind: str | None = "polygon", **fields: Any) -> dict[str, Any]:
    """A shape of labelme."""
    points = [[polygon[i], polygon[i + 1]] for i in range(0, len(polygon) - 1, 2)]
    kinds = {} if kind is None else {"shape_type": kind}
    return {"label": label, "points": points, "group_id": None, "flags": {}, "mask": None} | kinds | fields


def base64_mask(mask: NDArray[np.bool_]) -> str:
    """A mask as labelme keeps it."""
    buffer = BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme(root: Path) -> Places:
    """Two files of labelme beside their pictures."""
    for name in ("a", "b"):
        picture(root / f"{name}.jpg")
    labelme_file(root / "a.json", [shape("dog", SQUARE), shape("cat", TRIANGLE)])
    labelme_file(root / "b.json", [shape("cat", SQUARE)])
    return Places(root, root)


def voc(root: Path) -> Places:
    """Two pictures of Pascal VOC whose objects 1, 3 and 5 are cats, and 2 and 4 dogs, with a void border."""
    for seed, stem in enumerate("ab"):
        values = label_map(seed)
        classes = np.where(values == 0, 0, np.where(values % 2, 8, 12)).astype(np.uint8)
        values[-1], classes[-1] = 255, 255
        picture(root / "JPEGImages" / f"{stem}.jpg")
        save_palette(root / "SegmentationObject" / f"{stem}.png", values)
        save_palette(root / "SegmentationClass" / f"{stem}.png", classes)
        listed = "".join(f"<object><name>{'cat' if value % 2 else 'dog'}</name></object>" for value in range(1, 6))
        text(root / "Annotations" / f"{stem}.xml", f"<annotation><filename>{stem}.jpg</filename>{listed}</annotation>")
        text(root / "ImageSets" / "Segmentation" / f"{'train' if seed else 'val'}.txt", f"{stem}\n")
    return Places(root, root / "JPEGImages")


def instance_masks(root: Path) -> Places:
    """Two masks of 16 bits, and their pictures."""
    for seed, stem in enumerate("ab"):
        picture(root / "images" / f"{stem}.jpg")
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(label_map(seed).astype(np.uint16) * 1000).save(root / "masks" / f"{stem}.png")
    return Places(root / "masks", root / "images")


FORMATS: dict[str, Callable[[Path], Places]] = {
    "yolo": yolo, "labelme": labelme, "voc": voc, "instance masks": instance_masks
}  # fmt: skip
