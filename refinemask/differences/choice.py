"""The images in which detectors differ most from the first one. Imports no PyTorch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from refinemask.differences.pairing import MIN_SCORE, pair
from refinemask.structures import Result

NUMBER = 6
"""Number of images that are shown if nothing else is said."""
MOST_SEARCHED = 1500
"""Largest number of images that are looked at, which takes some seconds for five detectors."""

Read = Callable[[int], Sequence[Result]]
"""Function of an image's id to the results there; those of less than half of ``MIN_SCORE`` may be absent."""


class Difference(NamedTuple):
    """An image in which a detector differs from the first one."""

    image_id: int
    other: int
    """Which of the other detectors it is."""


def most_different(
    first: Read,
    others: Sequence[Read],
    image_ids: Sequence[int],
    number: int = NUMBER,
    min_score: float = MIN_SCORE,
) -> list[Difference]:
    """The images of the largest disagreement: each detector's in turn, the largest first, and no image twice.

    Of more than :data:`MOST_SEARCHED` images, so many are looked at, spread evenly over all. Only the results of one
    image are in memory at a time.

    Args:
        first: what the detector found that the others are compared with, or the annotated objects.
        others: what each of the others found.
        image_ids: images to look at.
        number: largest number of images.
        min_score: score from which on an object counts.
    """
    steps = np.linspace(0, len(image_ids), min(len(image_ids), MOST_SEARCHED), endpoint=False, dtype=int)
    image_ids = [image_ids[place] for place in steps]
    disagreement = np.zeros((len(others), len(image_ids)))
    for place, image_id in enumerate(image_ids):
        expected = first(image_id)
        for other, results in enumerate(others):
            disagreement[other, place] = pair(expected, results(image_id), min_score).disagreement
    ranked = np.argsort(-disagreement, axis=1, kind="stable")
    chosen: dict[int, Difference] = {}
    for rank in range(len(image_ids)):
        for other, order in enumerate(ranked):
            place = int(order[rank])
            if disagreement[other, place] > 0 and len(chosen) < number:
                chosen.setdefault(image_ids[place], Difference(image_ids[place], other))
    return list(chosen.values())
