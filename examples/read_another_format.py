"""Read another annotation format: a CSV file of run lengths, as Kaggle's competitions have it, one line an object.

    python examples/read_another_format.py [OUT]

It writes such a file from the bundled nuclei, converts it to the COCO annotations that training and evaluation read,
and evaluates the bundled model on both. It needs the extra train, no GPU, and less than a minute.
docs/extending/data-format.md explains it.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

import engines
import refinemask
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.coco import read_coco
from refinemask.data.image_kind import read_kind
from refinemask.files import UserError, atomic_write

IMAGES = 4
"""Number of images that are converted and evaluated."""
COLUMNS = ["ImageId", "EncodedPixels"]
"""Columns of the file: the name of a picture without its ending, and the runs of one of its objects."""


def convert(table: Path, images: Path, output: Path, class_name: str) -> None:
    """Write COCO annotations of all lines of a CSV file.

    Args:
        table: the file; ``EncodedPixels`` are pairs of a first pixel, counted from 1 down the columns, and a length.
        images: folder of the pictures, PNG files.
        output: JSON file to write.
        class_name: name of the one class.

    Raises:
        UserError: the file cannot be read, a line is malformed, or a picture is missing.
    """
    entries: dict[str, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    for number, (stem, pixels) in enumerate(read_lines(table), 2):
        if stem not in entries:
            height, width = read_kind(images / f"{stem}.png").shape
            names = {"id": len(entries) + 1, "file_name": f"{stem}.png"}
            entries[stem] = names | {"height": height, "width": width}
        image = entries[stem]
        # pycocotools takes a match with annotation 0 for no match, so the numbers begin at 1.
        ids = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": 1}
        try:
            annotations.append(ids | region(pixels, image["height"], image["width"]))
        except ValueError as error:
            raise UserError(f"{table}: line {number}: {error}") from error
    content = {"images": [*entries.values()], "annotations": annotations, "categories": [{"id": 1, "name": class_name}]}
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps(content))


def read_lines(table: Path) -> list[list[str]]:
    """The fields of each line but the first, which names them."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            first, *lines = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: cannot be read: {error}") from error
    if first != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
        raise UserError(f"{table}: begins with {first}, expected the columns {','.join(COLUMNS)} in every line")
    return lines


def region(pixels: str, height: int, width: int) -> dict[str, Any]:
    """The fields of a COCO annotation that say where an object is.

    Raises:
        ValueError: these are no runs within the picture.
    """
    numbers = np.array([int(word) for word in pixels.split()])
    if not len(numbers) or len(numbers) % 2:
        raise ValueError(f"has {len(numbers)} numbers, expected pairs of a first pixel and a length")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    edges = np.stack([starts, starts + lengths], axis=1).ravel()
    if edges[0] < 0 or edges[-1] > height * width or (np.diff(edges) < 0).any():
        raise ValueError(f"its runs are not in order within the {height * width} pixels of its picture")
    counts = np.diff(edges, prepend=0, append=height * width)
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {
        "segmentation": rle | {"counts": rle["counts"].decode()},
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": int(coco_mask.area(rle)),
        "iscrowd": 0,
    }


def write_table(annotations: Path, output: Path, limit: int) -> None:
    """Write the first images of COCO annotations as a CSV file: the other format, for this example to read."""
    dataset = read_coco(annotations)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for image in dataset.images[:limit]:
            for annotation in dataset.annotations[image.id]:
                flat = coco_mask.decode(annotation.segmentation).ravel(order="F")
                edges = np.flatnonzero(np.diff(flat, prepend=0, append=0))
                runs = np.stack([edges[::2] + 1, edges[1::2] - edges[::2]], axis=1).ravel()
                table.writerow([Path(image.file_name).stem, " ".join(map(str, runs))])


def main(out: Path) -> None:
    """Make such a file, convert it, and evaluate the bundled model on it and on the bundled annotations."""
    bundled, images = NUCLEI / "annotations" / "instances_val.json", NUCLEI / "images"
    write_table(bundled, out / "runs.csv", IMAGES)
    converted = out / "instances.json"
    convert(out / "runs.csv", images, converted, class_name="nucleus")
    dataset = read_coco(converted)
    print(f"{converted}: {len(dataset.images)} images, {sum(map(len, dataset.annotations.values()))} objects")

    model = engines.load(DEMO / "weights" / "refinemask-nuclei.safetensors")
    for annotations in (converted, bundled):
        figures = refinemask.evaluate(model, annotations, images, limit=IMAGES).figures
        row = ", ".join(f"{name} AP {100 * figures[name]['AP']:.2f}" for name in figures)
        print(f"{annotations.name}: {row}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/read_another_format"))
