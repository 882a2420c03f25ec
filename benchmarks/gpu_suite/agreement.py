"""How far two engines find the same in the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinemask.structures import Detections

SAME_IOU = 0.9
"""IoU from which on two boxes of one class are the same object."""
THRESHOLD = 0.5
"""Probability from which on a cell of a mask is foreground."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One engine's detections beside those of the reference."""

    expected: int
    """Number of the reference's detections."""
    found: int
    """Number of the engine's detections."""
    matched: float
    """Share of the reference's detections with a partner of the same class whose box has an IoU above 0.9."""
    different_cells: float | None
    """Share of the mask's cells that are foreground in one of two partners only; None without partners."""


def agreement(found: Detections, expected: Detections) -> Agreement:
    """Compare NumPy detections of the same batch; each detection is the partner of one other at most."""
    pairs, cells, differences = 0, 0, 0
    for image in range(len(expected.num_detections)):
        mine, reference = _of_image(found, image), _of_image(expected, image)
        for own, other in _partners(mine, reference):
            different = (mine.masks[own] >= THRESHOLD) != (reference.masks[other] >= THRESHOLD)
            pairs, cells, differences = pairs + 1, cells + different.size, differences + int(different.sum())
    total = int(expected.num_detections.sum())
    return Agreement(
        expected=total,
        found=int(found.num_detections.sum()),
        matched=pairs / total if total else 1.0,
        different_cells=differences / cells if cells else None,
    )


def _of_image(detections: Detections, image: int) -> Detections:
    """The detections of one image, without the places of padding."""
    real = slice(int(detections.num_detections[image]))
    boxes, scores, labels, _, masks = detections
    return Detections(
        boxes[image, real],
        scores[image, real],
        labels[image, real],
        detections.num_detections[image : image + 1],
        masks[image, real],
    )


def _partners(found: Detections, expected: Detections) -> list[tuple[int, int]]:
    """Pairs of indices, chosen in the reference's order of scores, each time the partner of the largest IoU."""
    overlaps = np.where(found.labels[:, None] == expected.labels, _iou(found.boxes, expected.boxes), 0)
    pairs = []
    for other in range(len(expected.labels)):
        if not len(found.labels):
            break
        own = int(overlaps[:, other].argmax())
        if overlaps[own, other] > SAME_IOU:
            pairs.append((own, other))
            overlaps[own] = 0
    return pairs


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU [A, B] of boxes [A, 4] and [B, 4], xyxy."""
    first, second = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = sides.clip(min=0).prod(axis=2)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=2) for boxes in (first, second)]
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
