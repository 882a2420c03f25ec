"""Synthetic LVIS annotations and detections, the same on every machine. Needs NumPy and pycocotools only."""

from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

SIDE = 240
"""Height and width of the images: room for objects of all three area ranges."""
SYNTHETIC: dict[str, tuple[int, bool, Literal["bbox", "segm"]]] = {
    "masks": (16, True, "segm"),
    "boxes": (16, True, "bbox"),
    "masks without boxes": (16, False, "segm"),
    "other masks": (36, True, "segm"),
    "neither large objects nor common categories": (0, True, "segm"),
}
"""Seed, whether results have boxes, and kind of overlap of each case in golden/lvis_ap.json."""


def synthetic_case(seed: int, *, bbox: bool = True) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An LVIS file and results on it.

    Has negative, non-exhaustive and unverified categories, a category without objects, objects and detections without
    area, tied scores, tied overlaps, images without objects or detections, and one image with over 300 detections.
    """
    random = np.random.default_rng(seed)
    categories: list[dict[str, Any]] = [
        {"id": 3 * i + 1, "name": f"thing {i}", "frequency": "rcf"[i % 3]} for i in range(7)
    ]
    ids = [category["id"] for category in categories]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in (7, 3, 40, 41, 12, 5):
        verified = [int(i) for i in random.permutation(ids[:6])[:4]]
        present, negative = verified[: int(random.integers(0, 4))], verified[3:]
        images.append(
            {
                "id": image_id,
                "height": SIDE,
                "width": SIDE,
                "coco_url": f"http://images.cocodataset.org/val2017/{image_id:012d}.jpg",
                "neg_category_ids": negative,
                "not_exhaustive_category_ids": present[:1],
            }
        )
        boxes = []
        for category in present:
            for _ in range(int(random.integers(1, 5))):
                box = _random_box(random)
                boxes.append(box)
                annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
                annotations.append(annotation | _object(box))
                if random.random() < 0.2:  # twins, so that overlaps are tied
                    annotations.append(annotation | _object(box) | {"id": len(annotations) + 1})
        if annotations and random.random() < 0.3:
            annotations[-1]["area"] = 0.0
        for _ in range(330 if image_id == 12 else int(random.integers(0, 40))):
            near = boxes[random.integers(len(boxes))] if boxes and random.random() < 0.7 else _random_box(random)
            box = np.clip(near + random.integers(-3, 4, 4), 0, SIDE)
            box[2:] = np.maximum(box[2:], box[:2] + (0 if random.random() < 0.05 else 1))
            category = int(random.choice(present)) if present and random.random() < 0.7 else int(random.choice(ids))
            score = float(random.integers(1, 40)) / 40
            results.append({"image_id": image_id, "category_id": category, "score": score} | _detection(box))
            if not bbox:
                del results[-1]["bbox"]
    return {"images": images, "categories": categories, "annotations": annotations}, results


def jittered(annotations: dict[str, Any]) -> list[dict[str, Any]]:
    """Detections made of the objects of a file: shifted masks, some of a wrong category, some left out."""
    random = np.random.default_rng(0)
    size = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    ids = sorted({annotation["category_id"] for annotation in annotations["annotations"]})
    results = []
    for annotation in annotations["annotations"]:
        for _ in range(int(random.integers(0, 4))):
            height, width = size[annotation["image_id"]]
            polygons = coco_mask.frPyObjects(annotation["segmentation"], height, width)
            shift = tuple(int(step) for step in random.integers(-4, 5, 2))
            mask = np.roll(coco_mask.decode(coco_mask.merge(polygons)), shift, (0, 1))
            category = annotation["category_id"] if random.random() < 0.8 else int(random.choice(ids))
            rle = coco_mask.encode(np.asfortranarray(mask))
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": category,
                    "score": round(float(random.random()), 2),
                    "bbox": coco_mask.toBbox(rle).tolist(),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    return results


def _random_box(random: np.random.Generator) -> np.ndarray:
    width, height = random.choice([12, 20, 50, 80, 150], 2)
    x, y = random.integers(0, SIDE - width + 1), random.integers(0, SIDE - height + 1)
    return np.array([x, y, x + width, y + height])


def _object(box: np.ndarray) -> dict[str, Any]:
    """A triangle: its area is not that of its box."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1) / 2,
        "segmentation": [[x1, y1, x2, y1, x1, y2]],
    }


def _detection(box: np.ndarray) -> dict[str, Any]:
    shape = _object(box)
    rle = coco_mask.merge(coco_mask.frPyObjects(shape["segmentation"], SIDE, SIDE))
    return {"bbox": shape["bbox"], "segmentation": {"size": [SIDE, SIDE], "counts": rle["counts"].decode()}}
