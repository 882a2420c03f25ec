"""Random COCO annotations and results, full of what evaluators get wrong. Needs NumPy and pycocotools only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

AREAS = 0.0, 20.0, 32.0**2, 32.0**2 + 1, 5000.0, 96.0**2, 96.0**2 + 1
"""Areas of objects: none, within the area ranges, and at their ends."""
NOT_LISTED = 777
SIDES = 1, 3, 17, 40, 90, 160


def random_set(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of an annotation file, and of a results file.

    There are crowds, tied scores, tied overlaps and overlaps of just a threshold; images without objects, without
    detections, or one pixel wide; categories without objects, and one that is not listed; objects and boxes without
    area, masks without a pixel, of all pixels and of scattered ones; and more than 100 detections of a category. Ids
    are neither contiguous nor in order.
    """
    random = np.random.default_rng(seed)
    categories = [int(number) for number in random.choice(200, random.integers(1, 6), replace=False) + 1]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    crowded = random.integers(8)
    numbers = random.permutation(10_000) + 1
    for place, image_id in enumerate((random.choice(900, random.integers(1, 7), replace=False) + 1).tolist()):
        height, width = (int(side) for side in random.choice(SIDES, 2))
        images.append({"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width})
        present = random.choice(categories, 3)
        boxes = [_box(random, height, width) for _ in range(random.integers(1, 7))]
        # Few boxes for many objects: some are twins, whose overlaps are tied.
        objects = [boxes[random.integers(len(boxes))] for _ in range(random.choice([0, 2, 8]))]
        for box in objects:
            entry = {"id": int(numbers[len(annotations)]), "image_id": image_id} | _object(random, box, height, width)
            annotations.append(entry | {"category_id": int(random.choice(present))})
        # pycocotools does not read results without an entry.
        for _ in range(130 if place == crowded else random.choice([0, 5, 30] if place else [5, 30])):
            box = boxes[random.integers(len(boxes))] if random.random() < 0.8 else _box(random, height, width)
            category = random.choice(present[:1] if place == crowded else present)
            if random.random() < 0.1:
                category = random.choice([*categories, NOT_LISTED])
            found = {"image_id": image_id, "category_id": int(category), "score": float(random.integers(0, 21)) / 20}
            results.append(found | _detection(random, box, height, width))
    random.shuffle(results)
    listed = [{"id": number, "name": f"thing {number}"} for number in categories]
    return {"images": images, "annotations": annotations, "categories": listed}, results


def _box(random: np.random.Generator, height: int, width: int) -> NDArray[np.int64]:
    """x1, y1, x2, y2 of a box within the image; one in twenty is empty."""
    w, h = (int(random.integers(1, side + 1)) for side in (width, height))
    if random.random() < 0.05:
        w = 0
    x, y = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
    return np.array([x, y, x + w, y + h])


def _mask(random: np.random.Generator, box: NDArray[np.int64], height: int, width: int) -> NDArray[np.uint8]:
    """A rectangle or an ellipse in the box, with or without noise; or no pixel, or all."""
    x1, y1, x2, y2 = box
    y, x = np.mgrid[:height, :width]
    mask = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
    kind = random.random()
    if kind < 0.3:
        mask &= ((2 * x - x1 - x2 + 1) / max(x2 - x1, 1)) ** 2 + ((2 * y - y1 - y2 + 1) / max(y2 - y1, 1)) ** 2 <= 1
    elif kind < 0.4:
        mask &= random.random((height, width)) < 0.7
    elif kind < 0.44:
        mask[:] = kind < 0.42
    return mask.astype(np.uint8)


def _object(random: np.random.Generator, box: NDArray[np.int64], height: int, width: int) -> dict[str, Any]:
    """Box, area, crowd, and a segmentation as polygon, as run lengths, or as a string of them."""
    x1, y1, x2, y2 = box.tolist()
    kind = random.random()
    segmentation: Any = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    if kind > 0.4:
        mask = _mask(random, box, height, width)
        segmentation = _string(mask) if kind > 0.7 else {"size": [height, width], "counts": _runs(mask)}
    return {
        "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
        "area": float(random.choice(AREAS)),
        "iscrowd": int(random.random() < 0.15),
        "segmentation": segmentation,
    }


def _detection(random: np.random.Generator, box: NDArray[np.int64], height: int, width: int) -> dict[str, Any]:
    """Box and mask near a box, or just there."""
    if random.random() < 0.6:
        reach = max(1, min(height, width) // 16)
        moved = np.clip(box + random.integers(-reach, reach + 1, 4), 0, [width, height, width, height])
        box = np.concatenate([moved[:2], np.maximum(moved[:2], moved[2:])])
    x1, y1, x2, y2 = box.astype(float).tolist()
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": _string(_mask(random, box, height, width))}


def _string(mask: NDArray[np.uint8]) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def _runs(mask: NDArray[np.uint8]) -> list[int]:
    """Lengths of the runs of background and foreground in turn, column by column."""
    flat = mask.ravel("F")
    bounds = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    return np.diff([0, *bounds, flat.size]).tolist()
