"""COCO annotations and results of boxes with all that makes AP difficult."""

import json
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 200


def random_boxes(directory: Path, seed: int) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """Write annotations of nine images, and return their path, their content, and results.

    Scores tie within images and between them. Some objects are crowds, and some images have no objects, no results, or
    neither. A category has no objects, and another one has few.
    """
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, 10):
        # The first image has neither objects nor results, the second no objects, the third no results.
        for _ in range(0 if image < 3 else int(rng.integers(1, 7))):
            x, y, width, height = box = [*rng.uniform(0, SIDE / 2, 2), *rng.uniform(10, SIDE / 2, 2)]
            category = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
            annotations.append(
                {"image_id": image, "category_id": category, "bbox": box, "area": width * height,
                 "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                 "iscrowd": int(rng.random() < 0.2), "id": len(annotations) + 1}
            )  # fmt: skip
        objects = [entry for entry in annotations if entry["image_id"] == image]
        for _ in range(0 if image in (1, 3) else 12):
            box = objects[rng.integers(len(objects))]["bbox"] if objects else [10, 10, 50, 50]
            moved = (np.array(box) * rng.normal(1, 0.06, 4)).tolist()
            results.append(
                {"image_id": image, "category_id": int(rng.choice([1, 2, 3, 4], p=[0.6, 0.2, 0.1, 0.1])),
                 "bbox": moved, "score": round(float(rng.random()), 1)}
            )  # fmt: skip
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE} for n in range(1, 10)],
        "categories": [{"id": number, "name": f"thing {number}"} for number in range(1, 5)],
        "annotations": annotations,
    }
    path = directory / "annotations.json"
    path.write_text(json.dumps(content))
    return path, content, results
