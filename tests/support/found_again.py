"""What an engine finds, as the annotations of its pictures."""

import json
from pathlib import Path

import engines
from benchmarks.harness.pipeline import process


def write_annotations(engine: engines.Engine, pictures: list[Path], path: Path) -> Path:
    """Write what an engine finds in pictures of 40 × 60 as COCO annotations; boxes are the masks.

    The masks of the first picture are moved by five pixels.
    """
    _, found = process(engine, pictures)
    objects = [
        {"image_id": 10 + image, **result, "segmentation": box_polygon(result["bbox"], 5 if image == 0 else 0)}
        for image, results in enumerate(found)
        for result in results
    ]
    content = {
        "images": [{"id": 10 + n, "file_name": p.name, "height": 40, "width": 60} for n, p in enumerate(pictures)],
        "categories": [
            {"id": number, "name": name}
            for number, name in zip(engine.config.category_ids, engine.config.class_names, strict=True)
        ],
        "annotations": [
            {"id": number, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0, **result}
            for number, result in enumerate(objects, start=1)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def box_polygon(bbox: list[float], shift: int) -> list[list[float]]:
    """A box (x, y, w, h) as a polygon, moved to the right."""
    x, y, width, height = bbox
    return [[x + shift, y, x + width + shift, y, x + width + shift, y + height, x + shift, y + height]]
