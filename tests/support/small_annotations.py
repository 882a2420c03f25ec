"""Annotations of two small images, in the fields of COCO and LVIS, with polygons and run lengths of every kind."""

import copy
from typing import Any

import numpy as np

from tests.support.mutations import mutated_json

HEIGHT, WIDTH = 48, 40
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.png", "height": 48, "width": 40, "coco_url": "http://images/val2017/a.png",
         "neg_category_ids": [2], "not_exhaustive_category_ids": [1]},
        {"id": 2, "file_name": "b.png", "height": 48, "width": 40, "coco_url": "http://images/val2017/b.png",
         "neg_category_ids": [], "not_exhaustive_category_ids": []},
    ],
    "categories": [{"id": 1, "name": "car", "frequency": "f"}, {"id": 2, "name": "cat", "frequency": "r"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 10], "area": 90.5, "iscrowd": 0,
         "segmentation": [[2, 3, 12, 3.5, 12, 13, 2, 13], [4, 4, 5, 4, 5, 9]]},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 2, 48], "area": 96, "iscrowd": 0,
         "segmentation": {"size": [48, 40], "counts": [0, 96, 1824]}},
        {"id": 3, "image_id": 2, "category_id": 1, "bbox": [1, 0, 2, 48], "area": 96, "iscrowd": 1,
         "segmentation": {"size": [48, 40], "counts": "`1P3`g1"}},
        {"id": 4, "image_id": 2, "category_id": 1, "bbox": [20, 2, 9, 9], "area": 40, "iscrowd": 0,
         "segmentation": [[20, 2, 29, 2, 29, 11]]},
    ],
}  # fmt: skip
RESULTS: list[dict[str, Any]] = [
    {"category_id": 1, "bbox": [2.0, 3.0, 10.0, 9.0], "score": 0.9,
     "segmentation": {"size": [48, 40], "counts": "`1P3`g1"}},
    {"category_id": 2, "bbox": [0.0, 0.0, 2.0, 48.0], "score": 0.5,
     "segmentation": {"size": [48, 40], "counts": [0, 96, 1824]}},
]  # fmt: skip
"""What was found in either image."""


def damaged_content(random: np.random.Generator) -> Any:
    """``CONTENT`` damaged anywhere, or only in the geometry of one object, which more readers get to see."""
    if random.random() < 0.4:
        return mutated_json(CONTENT, random)
    content = copy.deepcopy(CONTENT)
    entry = content["annotations"][random.integers(4)]
    geometry = {key: entry[key] for key in ("segmentation", "bbox", "area")}
    entry |= mutated_json(geometry, random)
    return content
