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
    scores = [np.array([result.get("score", 1.0) for result in results]) for results in (first, second)]
    left, right = (
        [index for index in np.flatnonzero(own >= min_score / 2).tolist() if "segmentation" in results[index]]
        for own, results in zip(scores, (first, second), strict=True)
    )
    # The same mask has the same string: it is neither decoded nor compared with others.
    pairs = list(_equal(first, second, left, right))
    taken = {i for i, *_ in pairs}, {j for _, j, _ in pairs}
    left, right = ([index for index in own if index not in out] for own, out in zip((left, right), taken, strict=True))
    sure = scores[0][left] >= min_score, scores[1][right] >= min_score
    if left and right:
        iou = _iou([first[i] for i in left], [second[j] for j in right])
        iou[~(sure[0][:, None] | sure[1])] = 0
        matches = list(_greedy(iou))
        pairs += [(left[row], right[column], value) for row, column, value in matches]
        sure[0][[row for row, *_ in matches]] = False
        sure[1][[column for _, column, _ in matches]] = False
    counted = sorted(pair for pair in pairs if max(scores[0][pair[0]], scores[1][pair[1]]) >= min_score)
    only_first, only_second = (np.array(own)[alone].tolist() for own, alone in zip((left, right), sure, strict=True))
    return Pairing(tuple(counted), tuple(only_first), tuple(only_second))


def _equal(
    first: Sequence[Result], second: Sequence[Result], left: Sequence[int], right: Sequence[int]
) -> Iterator[tuple[int, int, float]]:
    """Pairs of the same class with the same mask."""
    places: dict[tuple[int, str | bytes], list[int]] = defaultdict(list)
    for j in reversed(right):
        places[second[j]["category_id"], second[j]["segmentation"]["counts"]].append(j)
    for i in left:
        if equal := places.get((first[i]["category_id"], first[i]["segmentation"]["counts"])):
            yield i, equal.pop(), 1.0


def _iou(first: Sequence[Result], second: Sequence[Result]) -> NDArray[np.float64]:
    """IoU [N, M] of masks, 0 for those of different classes."""
    from pycocotools import mask as coco_mask

    masks = [[result["segmentation"] for result in results] for results in (first, second)]
    classes = [np.array([result["category_id"] for result in results]) for results in (first, second)]
    iou = np.asarray(coco_mask.iou(*masks, [0] * len(second)), np.float64)
    return np.where(classes[0][:, None] == classes[1], iou, 0.0)


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
