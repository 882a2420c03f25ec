"""Average precision and recall as COCO defines them: ten IoU thresholds, 101 recalls, four ranges of area."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refinemask.evaluation.matches import Matches
from refinemask.evaluation.matching import AREA_RANGES, BITS

RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
SIZES = "sml"
"""The area ranges but for the first, as figures name them: small, medium, large."""
FEW_DETECTIONS = (1, 10)
"""Numbers of detections per image and category whose recall is a figure, beside that of all."""


class _Category(NamedTuple):
    """The detections of one category, best first."""

    true: NDArray[np.int64]
    false: NDArray[np.int64]
    rank: NDArray[np.int32]
    objects: NDArray[np.int64]
    """[4] number of objects in each area range."""


def precision(matches: Matches) -> NDArray[np.float64]:
    """Precision [C, 4, 10, 101] of each category at the recall thresholds; NaN in the area ranges without objects.

    The four area ranges and ten IoU thresholds are those of ``matching``. Detections of equal score keep the order of
    the images.
    """
    found = np.zeros((len(matches.category_ids), *BITS.shape, len(RECALL_THRESHOLDS)))
    for number, category in enumerate(_categories(matches)):
        found[number, category.objects == 0] = np.nan
        for (area, threshold), bit in np.ndenumerate(BITS):
            if category.objects[area]:
                found[number, area, threshold] = _interpolated(category, bit, int(category.objects[area]))
    return found


def recall(matches: Matches, most: int | None = None) -> NDArray[np.float64]:
    """Recall [C, 4, 10] of each category, of the best ``most`` detections per image; NaN without objects."""
    found = np.full((len(matches.category_ids), *BITS.shape), np.nan)
    for number, (true, _, rank, objects) in enumerate(_categories(matches)):
        kept = true if most is None else true[rank < most]
        right = np.array([np.count_nonzero(kept & bit) for bit in BITS.ravel()]).reshape(BITS.shape)
        np.divide(right, objects[:, None], out=found[number], where=objects[:, None] > 0)
    return found


def _categories(matches: Matches) -> Iterator[_Category]:
    order = np.lexsort((-matches.score, matches.category))
    bounds = np.searchsorted(matches.category[order], np.arange(len(matches.category_ids) + 1))
    objects = np.zeros((len(matches.category_ids), len(AREA_RANGES)), np.int64)
    np.add.at(objects, matches.object_category, matches.objects)
    for number, (begin, end) in enumerate(pairwise(bounds.tolist())):
        own = order[begin:end]
        yield _Category(matches.true[own], matches.false[own], matches.rank[own], objects[number])


def _interpolated(category: _Category, bit: int, objects: int) -> NDArray[np.float64]:
    """Precision at the recall thresholds; 0 at recalls that are not reached."""
    # Precision falls between true detections: it is largest at one of them.
    hits = np.flatnonzero(category.true & bit)
    right = np.arange(1, len(hits) + 1)
    wrong = np.cumsum(category.false & bit > 0)[hits]
    envelope = np.maximum.accumulate((right / (right + wrong + np.spacing(1)))[::-1])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(right / objects, RECALL_THRESHOLDS)]


def summarize(precision: NDArray[np.float64]) -> dict[str, float]:
    """AP, AP50, AP75, APs, APm, APl: means of [C, 4, 10, 101] over the categories with objects; -1 if none has any."""
    parts = {
        "AP": precision[:, 0],
        "AP50": precision[:, 0, 0],
        "AP75": precision[:, 0, 5],
        **{f"AP{size}": precision[:, area] for area, size in enumerate(SIZES, 1)},
    }
    return {name: mean_of_known(part) for name, part in parts.items()}


def summarize_recall(matches: Matches) -> dict[str, float]:
    """AR1, AR10, AR, ARs, ARm, ARl: recall, averaged over thresholds and categories with objects; -1 if none has any.

    AR1 and AR10 are of the best detections per image and category alone, the others of all that count.
    """
    few = {f"AR{most}": mean_of_known(recall(matches, most)[:, 0]) for most in FEW_DETECTIONS}
    return few | recall_by_size(matches)


def recall_by_size(matches: Matches) -> dict[str, float]:
    """AR, ARs, ARm, ARl of all detections that count, as :func:`summarize_recall` has them."""
    found = recall(matches)
    return {f"AR{size}": mean_of_known(found[:, area]) for area, size in enumerate(("", *SIZES))}


def mean_of_known(values: NDArray[np.float64]) -> float:
    """The mean of all values that are not NaN; -1 if there is none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else -1.0
