"""Which objects of an image two detectors both have, and how well their masks agree. Imports no PyTorch."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinemask.structures import Result

MIN_SCORE = 0.5
"""Score from which on an object counts."""
MIN_IOU = 0.5
"""IoU above which two masks may be of the same object."""


@dataclass(frozen=True)
class Pairing:
    """The objects of an image, as indices into the results of the first and of the second detector."""

    pairs: tuple[tuple[int, int, float], ...]
    """Objects that both have, and the IoU of their masks."""
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]

    @property
    def objects(self) -> float:
        """Number of objects, of which each that only one detector has is half of one."""
        return len(self.pairs) + (len(self.only_first) + len(self.only_second)) / 2

    @property
    def quality(self) -> float:
        """Panoptic quality of one detector judged by the other, 0 to 1; 1 if neither has an object."""
        return sum(iou for *_, iou in self.pairs) / self.objects if self.objects else 1.0

    @property
    def disagreement(self) -> float:
        """From 0 to 1, 0 for equal masks: the lack of quality if the image had one more object, the same in both.

        Without the additional object, images of a single object would lead every list.
        """
        return (1 - self.quality) * self.objects / (self.objects + 1)


def pair(first: Sequence[Result], second: Sequence[Result], min_score: float = MIN_SCORE) -> Pairing:
    """Match the masks of two detectors, those of the largest IoU first and each once.

    An object counts from a score of ``min_score`` on. Its partner may have half of it, so that an object whose scores
    lie on both sides of the limit is no difference.

    Args:
        first: results of the first detector; those without a score are annotations, which are sure.
        second: results of the second one for the same image.
        min_score: score from which on an object counts.
    """
    groups = _by_class(first, min_score / 2), _by_class(second, min_score / 2)
    pairs: list[tuple[int, int, float]] = []
    for category in groups[0].keys() & groups[1].keys():
        pairs += _match(first, second, groups[0][category], groups[1][category], min_score)
    matched = {i for i, *_ in pairs}, {j for _, j, _ in pairs}
    only = [
        tuple(
            index
            for indices in group.values()
            for index in indices
            if index not in taken and score(results[index]) >= min_score
        )
        for results, group, taken in zip((first, second), groups, matched, strict=True)
    ]
    return Pairing(tuple(sorted(pairs)), *(tuple(sorted(indices)) for indices in only))


def score(result: Result) -> float:
    """The score of a result, 1 where it is annotated."""
    return float(result.get("score", 1.0))


def _by_class(results: Sequence[Result], least: float) -> dict[int, list[int]]:
    """The indices of the results with a mask and at least that score, by category id."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, result in enumerate(results):
        if result.get("score", 1.0) >= least and "segmentation" in result:
            groups[result["category_id"]].append(index)
    return groups


def _match(
    first: Sequence[Result], second: Sequence[Result], left: list[int], right: list[int], min_score: float
) -> Iterator[tuple[int, int, float]]:
    """Match objects of one class."""
    places: dict[str | bytes, list[int]] = defaultdict(list)
    for j in reversed(right):
        places[second[j]["segmentation"]["counts"]].append(j)
    rest_left, taken = [], set()
    for i in left:
        # The same mask has the same string, which is found without decoding it.
        equal = places.get(first[i]["segmentation"]["counts"])
        if equal:
            j = equal.pop()
            taken.add(j)
            if max(score(first[i]), score(second[j])) >= min_score:
                yield i, j, 1.0
        else:
            rest_left.append(i)
    rest_right = [j for j in right if j not in taken]
    if rest_left and rest_right:
        iou = _iou([first[i] for i in rest_left], [second[j] for j in rest_right])
        sure = [
            np.array([score(results[index]) >= min_score for index in indices])
            for results, indices in ((first, rest_left), (second, rest_right))
        ]
        iou[~(sure[0][:, None] | sure[1])] = 0
        yield from ((rest_left[a], rest_right[b], value) for a, b, value in _greedy(iou))


def _iou(first: Sequence[Result], second: Sequence[Result]) -> NDArray[np.float64]:
    from pycocotools import mask as coco_mask

    masks = [[result["segmentation"] for result in results] for results in (first, second)]
    return np.asarray(coco_mask.iou(*masks, [0] * len(second)), np.float64)


def _greedy(iou: NDArray[np.float64]) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows and columns, each used once, the largest IoU first."""
    rows, columns = np.nonzero(iou > MIN_IOU)
    values = iou[rows, columns]
    used_rows, used_columns = set(), set()
    for place in np.argsort(-values, kind="stable"):
        row, column = int(rows[place]), int(columns[place])
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            yield row, column, float(values[place])
