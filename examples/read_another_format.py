"""Read another annotation format: label maps, one PNG an image in which each object has a number of its own.

    python examples/read_another_format.py [OUT]

It draws such label maps from the bundled nuclei, converts them to the COCO annotations that training and evaluation
read, and evaluates the bundled model on both. It needs the extra train, no GPU, and less than a minute.
docs/extending/data-format.md explains it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

import engines
import refinemask
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.coco import read_coco
from refinemask.files import UserError, atomic_write

IMAGES = 4
"""Number of images that are converted and evaluated."""


def convert(label_maps: Path, images: Path, output: Path, class_name: str) -> None:
    """Write COCO annotations of all label maps in a folder.

    Args:
        label_maps: folder of PNG files; 0 is background, and every other value is one object.
        images: folder of the pictures, which have the names of their label maps.
        output: JSON file to write.
        class_name: name of the one class.

    Raises:
        UserError: there are no label maps, one cannot be read, or its picture is missing.
    """
    paths = sorted(label_maps.glob("*.png"))
    if not paths:
        raise UserError(f"{label_maps}: no label maps there; expected PNG files, one for each picture in {images}")
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, path in enumerate(paths, 1):
        if not (images / path.name).is_file():
            raise UserError(f"{path}: has no picture; expected {images / path.name}")
        label_map = read_label_map(path)
        height, width = label_map.shape
        entries.append({"id": image_id, "file_name": path.name, "height": height, "width": width})
        for value in np.unique(label_map[label_map > 0]):
            # pycocotools takes a match with annotation 0 for no match, so the numbers begin at 1.
            ids = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1}
            annotations.append(ids | region(label_map == value))
    content = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": class_name}]}
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps(content))


def read_label_map(path: Path) -> NDArray[np.integer[Any]]:
    """The values [h, w] of a label map, of 8 or 16 bits."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{path}: is {values.dtype} {list(values.shape)}, expected one channel of 8 or 16 bits")
    return values


def region(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The fields of a COCO annotation that say where an object is, from its mask [h, w]."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "segmentation": rle | {"counts": rle["counts"].decode()},
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": int(coco_mask.area(rle)),
        "iscrowd": 0,
    }


def draw_label_maps(annotations: Path, output: Path, limit: int) -> None:
    """Write the first images of COCO annotations as label maps: the other format, for this example to read."""
    dataset = read_coco(annotations)
    output.mkdir(parents=True, exist_ok=True)
    for image in dataset.images[:limit]:
        label_map = np.zeros((image.height, image.width), np.uint16)
        for number, annotation in enumerate(dataset.annotations[image.id], 1):
            label_map[coco_mask.decode(annotation.segmentation) == 1] = number
        cv2.imwrite(str(output / image.file_name), label_map)


def main(out: Path) -> None:
    """Make label maps, convert them, and evaluate the bundled model on them and on the bundled annotations."""
    bundled, images = NUCLEI / "annotations" / "instances_val.json", NUCLEI / "images"
    draw_label_maps(bundled, out / "label_maps", IMAGES)
    converted = out / "instances.json"
    convert(out / "label_maps", images, converted, class_name="nucleus")
    dataset = read_coco(converted)
    print(f"{converted}: {len(dataset.images)} images, {sum(map(len, dataset.annotations.values()))} objects")

    model = engines.load(DEMO / "weights" / "refinemask-nuclei.safetensors")
    for annotations in (converted, bundled):
        figures = refinemask.evaluate(model, annotations, images, limit=IMAGES).figures
        row = ", ".join(f"{name} AP {100 * figures[name]['AP']:.2f}" for name in figures)
        print(f"{annotations.name}: {row}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/read_another_format"))
