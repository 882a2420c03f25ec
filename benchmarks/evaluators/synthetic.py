"""Annotations and results of the kind of COCO's validation set, with ellipses as objects."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

CATEGORIES = np.arange(1, 81)
SHARES = CATEGORIES**-1.2 / (CATEGORIES**-1.2).sum()
"""Share of the objects by category; the first has 28 %, as COCO's persons have."""
CATEGORIES_PER_IMAGE = 3
CORNERS = 24
SMALLEST, LARGEST = 12 / 480, 300 / 480
"""Sides of the boxes, as shares of the image's height: log-uniform between them."""


class Amount(NamedTuple):
    """How much there is of what."""

    images: int
    objects: int
    """Objects per image."""
    detections: int
    """Detections per image: a third overlap an object of their category, a third only have a category of the image."""
    height: int
    """Height of the images in pixels."""
    width: int
    """Width of the images in pixels."""


def synthetic(amount: Amount, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of an annotation file, and that of a results file."""
    rng = np.random.default_rng(seed)
    size = amount.height, amount.width
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in range(1, amount.images + 1):
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "height": size[0], "width": size[1]})
        present = rng.choice(CATEGORIES, CATEGORIES_PER_IMAGE, replace=False, p=SHARES)
        boxes, categories = _boxes(rng, amount.objects, *size), rng.choice(present, amount.objects)
        for box, category, polygon in zip(boxes.tolist(), categories.tolist(), _ellipses(boxes), strict=True):
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "iscrowd": 0}
            area = box[2] * box[3] * np.pi / 4
            annotations.append(entry | {"bbox": box, "area": area, "segmentation": [polygon]})
        results += _detections(rng, amount, boxes, categories, image_id)
    names = [{"id": category, "name": f"thing {category}"} for category in CATEGORIES.tolist()]
    return {"images": images, "annotations": annotations, "categories": names}, results


def _detections(
    rng: np.random.Generator, amount: Amount, boxes: NDArray[Any], categories: NDArray[Any], image_id: int
) -> list[dict[str, Any]]:
    size = amount.height, amount.width
    count, third = amount.detections, amount.detections // 3
    near = rng.integers(amount.objects, size=count)
    moved, labels = boxes[near] * rng.normal(1, 0.03, (count, 4)), categories[near]
    moved[third:] = _boxes(rng, count - third, *size)
    labels[2 * third :] = rng.choice(CATEGORIES, count - 2 * third, p=SHARES)
    scores = rng.random(count).tolist()
    rles = coco_mask.frPyObjects(_ellipses(moved), *size)
    return [
        {"image_id": image_id, "category_id": label, "score": score, "bbox": box}
        | {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}
        for label, score, box, rle in zip(labels.tolist(), scores, moved.tolist(), rles, strict=True)
    ]


def _boxes(rng: np.random.Generator, count: int, height: int, width: int) -> NDArray[np.float64]:
    """[N, 4] boxes within the image: x, y, width, height."""
    size = np.exp(rng.uniform(np.log(SMALLEST * height), np.log(LARGEST * height), (count, 2)))
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * ([width, height] - size), size], axis=1)


def _ellipses(boxes: NDArray[np.float64]) -> list[list[float]]:
    angles = np.arange(CORNERS) / CORNERS * 2 * np.pi
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1) / 2 + 0.5
    return (boxes[:, None, :2] + unit * boxes[:, None, 2:]).reshape(len(boxes), -1).tolist()
