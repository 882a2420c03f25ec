"""The images in which detectors differ most from the first one. Imports no PyTorch."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from refinemask.differences.pairing import MIN_SCORE, pair
from refinemask.structures import Result

NUMBER = 6
"""Number of images that are shown if nothing else is said."""


class Difference(NamedTuple):
    """An image in which a detector differs from the first one."""

    image_id: int
    other: int
    """Which of the other detectors it is."""


def most_different(
    first: Mapping[int, Sequence[Result]],
    others: Sequence[Mapping[int, Sequence[Result]]],
    image_ids: Sequence[int],
    number: int = NUMBER,
    min_score: float = MIN_SCORE,
) -> list[Difference]:
    """The images of the largest disagreement: each detector's in turn, the largest first, and no image twice.

    Only the results of one image are in memory at a time.

    Args:
        first: results by image id of the detector that the others are compared with, or the annotated objects.
        others: the same of the others.
        image_ids: images to look at; an image that a detector lacks has no objects there.
        number: largest number of images.
        min_score: score from which on an object counts.
    """
    disagreement = np.zeros((len(others), len(image_ids)))
    for place, image_id in enumerate(image_ids):
        expected = first.get(image_id, ())
        for other, results in enumerate(others):
            disagreement[other, place] = pair(expected, results.get(image_id, ()), min_score).disagreement
    ranked = np.argsort(-disagreement, axis=1, kind="stable")
    chosen: dict[int, Difference] = {}
    for rank in range(len(image_ids)):
        for other, order in enumerate(ranked):
            place = int(order[rank])
            if disagreement[other, place] > 0 and len(chosen) < number:
                chosen.setdefault(image_ids[place], Difference(image_ids[place], other))
    return list(chosen.values())
