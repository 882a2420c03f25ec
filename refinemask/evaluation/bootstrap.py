"""How far an average precision could be from what other images of the same kind would give: the paired bootstrap.

A resample draws as many images as there are, with replacement. Its AP is what COCO's rule gives on the drawn images, in
which an image that was drawn twice is two images side by side. Matching is not repeated: it stays within an image.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refinemask.evaluation.average_precision import RECALL_THRESHOLDS
from refinemask.evaluation.matches import Matches
from refinemask.evaluation.matching import BITS, IOU_THRESHOLDS

ALL_AREAS = int(BITS[0].sum())
"""Set of the pairs of the first area range, which has all areas; its bits are the lowest."""
BLOCK = 1 << 20
"""Largest number of pairs of a resample and a detection that a thread works on at a time, some 20 MB."""
CONFIDENCE = 0.95
RESAMPLES = 1000
"""Number of resamples if none is given."""
THREADS = 8
"""Largest number of threads."""


class _Threshold(NamedTuple):
    """What one IoU threshold makes of a category's detections."""

    true: NDArray[np.intp]
    """[T] indices of the true ones into the candidates."""
    ignored: NDArray[np.intp]
    """[G] indices into all of those that are neither true nor false."""
    before: NDArray[np.intp]
    """[T] number of ignored ones before each true one."""


@dataclass(frozen=True)
class _Category:
    """The ``N`` detections of one category that matter to AP, best first, up to the last true one."""

    image: NDArray[np.intp]
    """[N] the detection's image."""
    single: NDArray[np.intp]
    """[S] indices of those that stand for one copy of their image; the others stand for all of its copies."""
    copy: NDArray[np.int64]
    """[S] that copy, from 0 on."""
    candidates: NDArray[np.intp]
    """[U] indices of those that are true at any threshold."""
    thresholds: tuple[_Threshold, ...]
    """The thresholds at which any is true."""
    object_image: NDArray[np.intp]
    """[P] the images with objects of the category."""
    objects: NDArray[np.int64]
    """[P] their number."""


def resample(images: int, count: int, seed: int = 0) -> NDArray[np.uint16]:
    """How often each of ``count`` resamples draws each image: [count, images]; equal arguments give equal draws."""
    rng = np.random.default_rng(seed)
    draws = np.empty((count, images), np.uint16)
    for row in draws:
        row[:] = np.bincount(rng.integers(images, size=images), minlength=images)
    return draws


def resampled_ap(matches: Matches, draws: NDArray[np.uint16]) -> NDArray[np.float64]:
    """AP of every resample, in 0..1; NaN for a resample without an object.

    AP is that of all areas: the mean over ten IoU thresholds, 101 recalls and the categories with objects in the
    resample.

    Args:
        matches: what the detections of ``I`` images were matched with.
        draws: [B, I] how often each resample has each image; ones give the AP of the images themselves.
    """
    if not len(draws):
        return np.zeros(0)
    most = draws.max(0, initial=0).astype(np.int64)
    total, categories = np.zeros(len(draws)), np.zeros(len(draws))

    def judge(category: _Category) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        objects = draws[:, category.object_image] @ category.objects
        size = max(1, BLOCK // max(1, len(category.image)))
        parts = [slice(start, start + size) for start in range(0, len(draws), size)]
        return np.concatenate([_category_ap(category, draws[part], objects[part]) for part in parts]), objects > 0

    # NumPy leaves the interpreter to other threads meanwhile. The sum is in the order of the categories.
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for precision, present in pool.map(judge, _split(matches, most)):
            total += precision
            categories += present
    return np.divide(total, categories, out=np.full(len(draws), np.nan), where=categories > 0)


def interval(samples: NDArray[np.float64]) -> tuple[float, float] | None:
    """Ends of the 95 % confidence interval of a figure, from the figures of resamples; None if none of them has it.

    They are the percentiles of the resamples, of which those that are NaN do not count. Figures to subtract from one
    another, such as those of two detectors, are of the same resamples.
    """
    known = samples[np.isfinite(samples)]
    if not len(known):
        return None
    low, high = np.quantile(known, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def _split(matches: Matches, most: NDArray[np.int64]) -> Iterator[_Category]:
    """The categories with objects; an image is drawn at most ``most`` [I] times."""
    true, counted = matches.true & ALL_AREAS, (matches.true | matches.false) & ALL_AREAS
    # Equal scores keep the order of the images, as in pycocotools. What no threshold counts is as if it were not there.
    order = np.lexsort((-matches.score, matches.category))
    order = order[counted[order] > 0]
    ends = np.searchsorted(matches.category[order], np.arange(len(matches.category_ids) + 1))
    for category, (start, end) in enumerate(pairwise(ends.tolist())):
        own = matches.object_category == category
        objects = matches.objects[own, 0].astype(np.int64)
        if not objects.any():
            continue
        rows, copy = _with_copies(order[start:end], matches, true + (counted << len(IOU_THRESHOLDS)), most)
        candidates = np.flatnonzero(true[rows])
        # Not before there are copies: the first copy's false detection may stand before the second copy's true one.
        last = slice(0, candidates.max(initial=-1) + 1)
        rows, copy = rows[last], copy[last]
        single = np.flatnonzero(copy >= 0)
        yield _Category(
            image=matches.image[rows].astype(np.intp),
            single=single,
            copy=copy[single],
            candidates=candidates,
            thresholds=tuple(_thresholds(true[rows], counted[rows], candidates)),
            object_image=matches.object_image[own].astype(np.intp),
            objects=objects,
        )


def _thresholds(
    true: NDArray[np.int64], counted: NDArray[np.int64], candidates: NDArray[np.intp]
) -> Iterator[_Threshold]:
    for bit in BITS[0]:
        found = np.flatnonzero(true[candidates] & bit)
        if len(found):
            ignored = np.flatnonzero(~counted & bit)
            yield _Threshold(found, ignored, np.searchsorted(ignored, candidates[found]))


def _with_copies(
    rows: NDArray[np.intp], matches: Matches, judged: NDArray[np.int64], most: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Detections of one category in the order of a resample, and the ``copy`` of each, as in ``_Category``.

    Where an image drawn twice has two detections of one score, its second copy brings both after its first copy's two.
    So they cannot be counted twice where they stand, as others are, if they were judged differently.
    """
    image, score = matches.image[rows], matches.score[rows]
    begins = np.ones(len(rows), bool)
    begins[1:] = (image[1:] != image[:-1]) | (score[1:] != score[:-1])
    run = begins.cumsum() - 1
    differ = np.zeros(len(rows), bool)
    differ[1:] = ~begins[1:] & (judged[rows[1:]] != judged[rows[:-1]])
    mixed = np.isin(run, run[differ])
    copies = np.where(mixed, most[image], 1)
    repeated = np.repeat(np.arange(len(rows)), copies)
    copy = np.arange(len(repeated)) - np.repeat(copies.cumsum() - copies, copies)
    order = np.lexsort((copy, run[repeated]))
    return rows[repeated[order]], np.where(mixed[repeated], copy, -1)[order]


def _category_ap(category: _Category, draws: NDArray[np.uint16], objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """AP [B] of one category in resamples [B, I] that have ``objects`` [B]; 0 for those that have none."""
    # Whole arrays of one type: sums that convert on the way, and indices in brackets, take four times as long.
    weights = np.take(draws, category.image, 1).astype(np.int32)
    weights[:, category.single] = weights[:, category.single] > category.copy
    # Precision is highest at true detections: others only lower it until the next one.
    every = np.take(weights.cumsum(1, dtype=np.int32), category.candidates, 1)
    candidates = np.take(weights, category.candidates, 1)
    divisor = np.maximum(objects, 1)[:, None]
    result = np.zeros(len(draws))
    for threshold in category.thresholds:
        true = np.take(candidates, threshold.true, 1).cumsum(1, dtype=np.int32)
        counted = np.take(every, threshold.true, 1)
        if len(threshold.ignored):
            ignored = np.take(weights, threshold.ignored, 1).cumsum(1, dtype=np.int32)
            counted -= np.take(np.pad(ignored, ((0, 0), (1, 0))), threshold.before, 1)
        precision = true / (counted + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        result += np.einsum("bt,bt->b", envelope, _recalls_reached(true / divisor))
    return result / (len(IOU_THRESHOLDS) * len(RECALL_THRESHOLDS)) * (objects > 0)


def _recalls_reached(recall: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many of the 101 recalls each detection is the first to reach: [B, T] for ascending recalls [B, T]."""
    # RECALL_THRESHOLDS are these very products, to the last bit.
    reached = np.rint(recall * (len(RECALL_THRESHOLDS) - 1))
    reached += recall >= reached * RECALL_THRESHOLDS[1]
    reached[:, 1:] -= reached[:, :-1].copy()
    return reached
