"""Matches of two detectors that nobody ran, of which the second finds the objects less exactly."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refinemask.evaluation.matches import Matches
from refinemask.evaluation.matching import BITS, IOU_THRESHOLDS


class _Detections(NamedTuple):
    image: NDArray[np.int64]
    category: NDArray[np.int64]
    score: NDArray[np.float64]
    true: NDArray[np.int64]


def random_matches(
    rng: np.random.Generator,
    images: int,
    categories: int,
    *,
    objects: float = 4,
    worse: float = 0.03,
    digits: int = 17,
) -> tuple[Matches, Matches]:
    """The matches of two detectors with the same images.

    Args:
        rng: where the numbers come from.
        images: number of images.
        categories: number of categories; the first are the most frequent.
        objects: mean number of objects in an image, all of one hard or easy kind.
        worse: how much less the second detector overlaps the objects on average.
        digits: decimals of the scores.
    """
    image = np.repeat(np.arange(images), rng.poisson(objects, images))
    share = np.arange(categories, 0, -1) / np.arange(categories, 0, -1).sum()
    category = rng.choice(categories, len(image), p=share)
    overlap = rng.normal(0.75, 0.12, len(image)) + rng.normal(0, 0.025, images)[image]
    pairs, counts = np.unique(image * categories + category, return_counts=True)
    tables = []
    for lost in (0, worse):
        own = overlap + rng.normal(0, 0.03, len(image)) - lost
        reached = np.searchsorted(IOU_THRESHOLDS, own, side="right")[found := rng.random(len(image)) < 0.85]
        score = 10 * (own[found] - 0.6) + rng.normal(0, 0.7, found.sum())
        wrong = np.repeat(np.arange(images), rng.poisson(3, images))
        detections = _Detections(
            np.append(image[found], wrong),
            np.append(category[found], rng.choice(categories, len(wrong))),
            np.round(1 / (1 + np.exp(-np.append(score, rng.normal(-1, 1, len(wrong))))), digits),
            np.append((1 << reached) - 1, np.zeros(len(wrong), int)),
        )
        tables.append(_table(detections, pairs, counts, images, categories))
    return tables[0], tables[1]


def _table(
    detections: _Detections,
    pairs: NDArray[np.int64],
    counts: NDArray[np.int64],
    images: int,
    categories: int,
) -> Matches:
    order = np.lexsort((-detections.score, detections.category, detections.image))
    image, category, true = (column[order] for column in (detections.image, detections.category, detections.true))
    _, first, inverse = np.unique(image * categories + category, return_index=True, return_inverse=True)
    every = int(BITS.sum())
    return Matches(
        image_ids=tuple(range(images)),
        category_ids=tuple(range(categories)),
        image=image.astype(np.int32),
        category=category.astype(np.int32),
        score=detections.score[order],
        rank=(np.arange(len(order)) - first[inverse]).astype(np.int32),
        true=true,
        false=every & ~true,
        object_image=(pairs // categories).astype(np.int32),
        object_category=(pairs % categories).astype(np.int32),
        objects=np.repeat(counts[:, None], 4, 1).astype(np.int32),
    )
