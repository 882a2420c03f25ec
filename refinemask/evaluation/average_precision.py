"""Average precision as COCO defines it: ten IoU thresholds, 101 recalls, four ranges of area."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large, in square pixels of the original image; both ends belong to a range."""

# Each pair of an area range and an IoU threshold is judged on its own. Matching is sequential and sparse, so what holds
# in some of the 40 pairs is a set of bits in one integer.
BITS = 1 << np.arange(len(AREA_RANGES) * len(IOU_THRESHOLDS)).reshape(len(AREA_RANGES), len(IOU_THRESHOLDS))
REACHED = [int(BITS[:, :count].sum()) for count in range(len(IOU_THRESHOLDS) + 1)]
"""The pairs of the lowest ``count`` thresholds."""


class Judgement(NamedTuple):
    """``D`` detections of one category; in a pair where one is neither true nor false it is ignored."""

    scores: NDArray[np.float64]
    """[D]"""
    true: NDArray[np.int64]
    """[D] sets of ``BITS``: matched with an object that counts."""
    false: NDArray[np.int64]
    """[D] sets of ``BITS``: matched with none."""


def in_range(areas: Sequence[float]) -> NDArray[np.bool_]:
    """[4, N] which area ranges each of N areas is in."""
    low, high = AREA_RANGES[:, :1], AREA_RANGES[:, 1:]
    values = np.asarray(areas, np.float64)
    return (low <= values) & (values <= high)


def judge(
    scores: Sequence[float],
    areas: Sequence[float],
    overlaps: NDArray[np.float64],
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    *,
    exhaustive: bool = True,
) -> Judgement:
    """Judge the detections of one category in one image.

    Args:
        scores: [D] descending.
        areas: [D] of the detections; unmatched, they are false only in the area range they are in.
        overlaps: [D, G] IoU with the objects of the category.
        ignored: [4, G] the objects that do not count in each area range.
        crowd: [G] the objects that any number of detections may be matched with.
        exhaustive: whether all objects of the category are known; otherwise no detection is false.
    """
    matched, counted = _match(overlaps, _pairs(ignored).tolist(), crowd.tolist())
    may_be_false = _pairs(in_range(areas)) if exhaustive else 0
    return Judgement(scores=np.array(scores, np.float64), true=counted, false=~matched & may_be_false)


def _pairs(areas: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[4, N] area ranges as N sets of bits, of all thresholds."""
    return BITS.sum(1) @ areas


def _match(
    overlaps: NDArray[np.float64], ignored: list[int], crowd: list[bool]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each detection in turn the free object it overlaps most, an ignored one only if no other is left.

    Returns:
        [D] the pairs in which each detection has an object, and those in which the object is not ignored.
    """
    matched, counted = np.zeros((2, len(overlaps)), np.int64)
    reached = np.searchsorted(IOU_THRESHOLDS, overlaps, side="right")
    free = [REACHED[-1]] * len(ignored)
    for detection in np.flatnonzero(reached.any(1)).tolist():
        ious, thresholds, found = overlaps[detection].tolist(), reached[detection].tolist(), 0
        # Of equal overlaps the last object wins, as in pycocotools.
        best_first = sorted(((iou, g) for g, iou in enumerate(ious) if thresholds[g]), reverse=True)
        for may_be_ignored in (False, True):
            for _, g in best_first:
                kind = ignored[g] if may_be_ignored else ~ignored[g]
                taken = REACHED[thresholds[g]] & free[g] & kind & ~found
                found |= taken
                if not crowd[g]:
                    free[g] &= ~taken
            if not may_be_ignored:
                counted[detection] = found
        matched[detection] = found
    return matched, counted


def interpolated_precision(judgements: Sequence[Judgement], num_objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision [4, 10, 101] of one category at the recall thresholds; NaN in the area ranges without objects.

    Detections of equal score keep the order of the images.

    Args:
        judgements: of each image that has any.
        num_objects: [4] the objects to find in each area range.
    """
    precision = np.zeros((*BITS.shape, len(RECALL_THRESHOLDS)))
    precision[num_objects == 0] = np.nan
    if not judgements:
        return precision
    scores, true, false = (np.concatenate(column) for column in zip(*judgements, strict=True))
    order = np.argsort(-scores, kind="stable")
    true, false = true[order], false[order]
    for (area, threshold), bit in np.ndenumerate(BITS):
        if num_objects[area]:
            found, wrong = (true & bit > 0).cumsum(), (false & bit > 0).cumsum()
            envelope = np.maximum.accumulate((found / (found + wrong + np.spacing(1)))[::-1])[::-1]
            positions = np.searchsorted(found / num_objects[area], RECALL_THRESHOLDS)
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
