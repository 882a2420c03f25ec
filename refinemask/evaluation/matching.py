"""Matching the detections of one category in one image with its objects, at all of COCO's thresholds together."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large, in square pixels of the original image; both ends belong to a range."""

# Detections are judged separately in each of the 40 pairs of an area range and an IoU threshold. Matching is sequential
# and sparse, so a set of pairs is stored as the bits of one integer.
BITS = 1 << np.arange(len(AREA_RANGES) * len(IOU_THRESHOLDS)).reshape(len(AREA_RANGES), len(IOU_THRESHOLDS))
REACHED = [int(BITS[:, :count].sum()) for count in range(len(IOU_THRESHOLDS) + 1)]
"""Set of the pairs with the lowest ``count`` thresholds, by ``count``."""


def in_range(areas: ArrayLike) -> NDArray[np.bool_]:
    """Whether each of N areas, in square pixels, lies in each of the four ranges: [4, N]."""
    low, high = AREA_RANGES[:, :1], AREA_RANGES[:, 1:]
    values = np.asarray(areas, np.float64)
    return (low <= values) & (values <= high)


def pairs(areas: NDArray[np.bool_]) -> NDArray[np.int64]:
    """N sets of pairs, at all thresholds, from N columns of area ranges [4, N]."""
    return BITS.sum(1) @ areas


def match(
    overlaps: NDArray[np.float64], ignored: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each detection in turn the free object it overlaps most, an ignored one only if no other is left.

    Args:
        overlaps: [D, G] IoU of the detections, best first, with the objects.
        ignored: [4, G] the objects that do not count in each area range.
        crowd: [G] the objects that any number of detections may be matched with.

    Returns:
        [D] the pairs in which each detection has an object, and those in which that object is not ignored.
    """
    matched, counted = np.zeros((2, len(overlaps)), np.int64)
    reached = np.searchsorted(IOU_THRESHOLDS, overlaps, side="right")
    not_counting, shared = pairs(ignored).tolist(), crowd.tolist()
    free = [REACHED[-1]] * len(shared)
    for detection in np.flatnonzero(reached.any(1)).tolist():
        ious, thresholds, paired = overlaps[detection].tolist(), reached[detection].tolist(), 0
        # Of equal overlaps the last object wins, as in pycocotools.
        best_first = sorted(((iou, g) for g, iou in enumerate(ious) if thresholds[g]), reverse=True)
        for may_be_ignored in (False, True):
            for _, g in best_first:
                kind = not_counting[g] if may_be_ignored else ~not_counting[g]
                taken = REACHED[thresholds[g]] & free[g] & kind & ~paired
                paired |= taken
                if not shared[g]:
                    free[g] &= ~taken
            if not may_be_ignored:
                counted[detection] = paired
        matched[detection] = paired
    return matched, counted
