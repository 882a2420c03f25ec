"""Average precision as COCO defines it: ten IoU thresholds, 101 recalls, four ranges of area."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large, in square pixels of the original image; both ends belong to a range."""


class Judgement(NamedTuple):
    """Detections of one category in descending order of score; those neither true nor false are ignored.

    The axes are 4 area ranges, 10 IoU thresholds, ``D`` detections.
    """

    scores: NDArray[np.float64]
    """[D]"""
    true: NDArray[np.bool_]
    """[4, 10, D]: matched with an object that counts in the area range."""
    false: NDArray[np.bool_]
    """[4, 10, D]"""


def in_range(areas: Sequence[float]) -> NDArray[np.bool_]:
    """[4, N] which area ranges each of N areas is in."""
    low, high = AREA_RANGES[:, :1], AREA_RANGES[:, 1:]
    return (low <= np.array(areas)) & (np.array(areas) <= high)


def match(
    overlaps: NDArray[np.float64], ignored: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Give each detection in turn the free object it overlaps most, an ignored one only if no other is left.

    Args:
        overlaps: [D, G] IoU, detections by descending score.
        ignored: [4, G] the objects that do not count in each area range.
        crowd: [G] the objects that stay free for any number of detections.

    Returns:
        [4, 10, D] whether each detection has an object, and whether that is an ignored one.
    """
    num_detections, num_objects = overlaps.shape
    shape = (len(AREA_RANGES), len(IOU_THRESHOLDS))
    matched = np.zeros((*shape, num_detections), bool)
    on_ignored = np.zeros_like(matched)
    free = np.ones((*shape, num_objects), bool)
    ignored = ignored[:, None]
    for detection in np.flatnonzero(overlaps.max(1, initial=0) >= IOU_THRESHOLDS[0]):
        candidates = free & (overlaps[detection] >= IOU_THRESHOLDS[:, None])
        counting = candidates & ~ignored
        candidates = np.where(counting.any(-1, keepdims=True), counting, candidates)
        # Of equal overlaps the last object wins, as in pycocotools.
        best = num_objects - 1 - np.where(candidates, overlaps[detection], -1)[..., ::-1].argmax(-1)
        taken = candidates & (np.arange(num_objects) == best[..., None])
        free &= ~taken | crowd
        matched[..., detection] = taken.any(-1)
        on_ignored[..., detection] = (taken & ignored).any(-1)
    return matched, on_ignored


def interpolated_precision(judgements: Sequence[Judgement], num_objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision [4, 10, 101] of one category at the recall thresholds; NaN in the area ranges without objects.

    Detections of equal score keep the order of the images.

    Args:
        judgements: of each image that has any.
        num_objects: [4] the objects to find in each area range.
    """
    precision = np.zeros((len(AREA_RANGES), len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS)))
    precision[num_objects == 0] = np.nan
    if not judgements:
        return precision
    order = np.argsort(-np.concatenate([j.scores for j in judgements]), kind="stable")
    for area, threshold in np.ndindex(precision.shape[:2]):
        if num_objects[area]:
            true = np.concatenate([j.true[area, threshold] for j in judgements])[order].cumsum()
            false = np.concatenate([j.false[area, threshold] for j in judgements])[order].cumsum()
            envelope = np.maximum.accumulate((true / (true + false + np.spacing(1)))[::-1])[::-1]
            positions = np.searchsorted(true / num_objects[area], RECALL_THRESHOLDS)
            # Recalls that are not reached have precision 0.
            precision[area, threshold] = np.append(envelope, 0.0)[positions]
    return precision


def summarize(precision: NDArray[np.float64]) -> dict[str, float]:
    """AP, AP50, AP75, APs, APm, APl: means over the categories [C, 4, 10, 101] that have objects; -1 if none has."""
    parts = {
        "AP": precision[:, 0],
        "AP50": precision[:, 0, 0],
        "AP75": precision[:, 0, 5],
        **{f"AP{size}": precision[:, 1 + area] for area, size in enumerate("sml")},
    }
    return {name: mean_precision(part) for name, part in parts.items()}


def mean_precision(precision: NDArray[np.float64]) -> float:
    """The mean of all that is not NaN; -1 if nothing is."""
    return float(np.nanmean(precision)) if np.isfinite(precision).any() else -1.0
