"""How far two engines find the same in the same images."""

from dataclasses import dataclass

from refinemask.agreement import box_iou, match
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
        overlaps = box_iou(reference.boxes, mine.boxes)
        for other, own in match(reference, mine):
            if overlaps[other, own] <= SAME_IOU:
                continue
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
