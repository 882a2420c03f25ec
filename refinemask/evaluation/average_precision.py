"""Average precision as COCO defines it: ten IoU thresholds, 101 recalls, four ranges of area."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large, in square pixels of the original image; both ends belong to a range."""

# Detections are judged separately in each of the 40 pairs of an area range and an IoU threshold. Matching is sequential
# and sparse, so a set of pairs is stored as the bits of one integer.
BITS = 1 << np.arange(len(AREA_RANGES) * len(IOU_THRESHOLDS)).reshape(len(AREA_RANGES), len(IOU_THRESHOLDS))
REACHED = [int(BITS[:, :count].sum()) for count in range(len(IOU_THRESHOLDS) + 1)]
"""Set of the pairs with the lowest ``count`` thresholds, by ``count``."""


class Judgement(NamedTuple):
    """The judgement of ``D`` detections of one category.

    In a pair in which a detection is neither true nor false, it is ignored.
    """

    scores: NDArray[np.float64]
    """[D] scores of the detections."""
    true: NDArray[np.int64]
    """[D] sets of ``BITS`` in which a detection is matched with an object that counts."""
    false: NDArray[np.int64]
    """[D] sets of ``BITS`` in which a detection is matched with no object."""


def in_range(areas: Sequence[float]) -> NDArray[np.bool_]:
    """Whether each of N areas, in square pixels, lies in each of the four ranges: [4, N]."""
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
        areas: [D] areas of the detections; an unmatched detection is false only in the ranges of its area.
        overlaps: [D, G] IoU with the objects of the category.
        ignored: [4, G] the objects that do not count in each area range.
        crowd: [G] the objects that any number of detections may be matched with.
        exhaustive: whether all objects of the category are known; otherwise no detection is false.
    """
    matched, counted = _match(overlaps, _pairs(ignored).tolist(), crowd.tolist())
    may_be_false = _pairs(in_range(areas)) if exhaustive else 0
    return Judgement(scores=np.array(scores, np.float64), true=counted, false=~matched & may_be_false)


def _pairs(areas: NDArray[np.bool_]) -> NDArray[np.int64]:
    """N sets of bits from N columns of area ranges [4, N], at all thresholds."""
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
        ious, thresholds, paired = overlaps[detection].tolist(), reached[detection].tolist(), 0
        # Of equal overlaps the last object wins, as in pycocotools.
        best_first = sorted(((iou, g) for g, iou in enumerate(ious) if thresholds[g]), reverse=True)
        for may_be_ignored in (False, True):
            for _, g in best_first:
                kind = ignored[g] if may_be_ignored else ~ignored[g]
                taken = REACHED[thresholds[g]] & free[g] & kind & ~paired
                paired |= taken
                if not crowd[g]:
                    free[g] &= ~taken
            if not may_be_ignored:
                counted[detection] = paired
        matched[detection] = paired
    return matched, counted


def interpolated_precision(judgements: Sequence[Judgement], num_objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision [4, 10, 101] of one category at the recall thresholds; NaN in the area ranges without objects.

    Detections of equal score keep the order of the images.

    Args:
        judgements: the judgement of each image that has detections of the category.
        num_objects: [4] number of objects to find in each area range.
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
            right, wrong = (true & bit > 0).cumsum(), (false & bit > 0).cumsum()
            envelope = np.maximum.accumulate((right / (right + wrong + np.spacing(1)))[::-1])[::-1]
            positions = np.searchsorted(right / num_objects[area], RECALL_THRESHOLDS)
            # Recalls that are not reached have precision 0.
            precision[area, threshold] = np.append(envelope, 0.0)[positions]
    return precision


def summarize(precision: NDArray[np.float64]) -> dict[str, float]:
    """AP, AP50, AP75, APs, APm, APl: means of [C, 4, 10, 101] over the categories with objects; -1 if none has any."""
    parts = {
        "AP": precision[:, 0],
        "AP50": precision[:, 0, 0],
        "AP75": precision[:, 0, 5],
        **{f"AP{size}": precision[:, 1 + area] for area, size in enumerate("sml")},
    }
    return {name: mean_precision(part) for name, part in parts.items()}


def mean_precision(precision: NDArray[np.float64]) -> float:
    """The mean of all values that are not NaN; -1 if there is none."""
    return float(np.nanmean(precision)) if np.isfinite(precision).any() else -1.0
