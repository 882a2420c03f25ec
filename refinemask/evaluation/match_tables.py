"""Building the tables of :class:`refinemask.evaluation.matches.Matches`, one image at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from refinemask.evaluation.matches import Matches
from refinemask.evaluation.matching import AREA_RANGES, in_range, match, pairs

Kind = TypeVar("Kind", bound=str)
Overlaps = Callable[[NDArray[np.intp], NDArray[np.intp]], Mapping[Kind, NDArray[np.float64]]]
"""Function of the indices of ``d`` detections, best first, and ``g`` objects, to their overlaps [d, g] by kind."""


@dataclass(frozen=True)
class Detections:
    """``D`` detections of one image, in any order."""

    category: NDArray[np.integer]
    """[D] index of the category."""
    score: NDArray[np.float64]
    """[D]"""
    area: NDArray[np.float64]
    """[D] area in square pixels: an unmatched detection is false only in the ranges of its area."""
    certain: NDArray[np.bool_] | None = None
    """[D] whether all objects of the category are known, so that an unmatched detection is false; None is all."""


@dataclass(frozen=True)
class Objects:
    """``G`` objects of one image, in any order."""

    category: NDArray[np.integer]
    """[G] index of the category."""
    area: NDArray[np.float64]
    """[G] annotated area in square pixels: an object counts in the ranges of its area."""
    crowd: NDArray[np.bool_]
    """[G] whether any number of detections may be matched with it, and none need be."""


@dataclass(frozen=True)
class _Image:
    """The rows of one image; the fields are those of ``Matches``."""

    category: NDArray[np.int32]
    score: NDArray[np.float64]
    rank: NDArray[np.int32]
    object_category: NDArray[np.int32]
    objects: NDArray[np.int32]


class MatchTables(Generic[Kind]):
    """Matches by kind of overlap, while images are added.

    Args:
        category_ids: ids of the categories.
        kinds: the kinds of overlap.
    """

    def __init__(self, category_ids: Sequence[int], kinds: Sequence[Kind]) -> None:
        self._category_ids = tuple(category_ids)
        self._images: dict[int, _Image] = {}
        self._true: dict[Kind, list[NDArray[np.int64]]] = {kind: [] for kind in kinds}
        self._false: dict[Kind, list[NDArray[np.int64]]] = {kind: [] for kind in kinds}

    def add(
        self,
        image_id: int,
        found: Detections,
        present: Objects,
        overlaps: Overlaps[Kind],
        most: int | None = None,
    ) -> None:
        """Match the detections of the next image.

        Args:
            image_id: the image's id.
            found: its detections.
            present: its objects.
            overlaps: is asked once for each category that has both.
            most: detections that count per category; None is all.
        """
        # Stable: detections of equal score keep their order.
        order = np.lexsort((-found.score, found.category))
        first = np.flatnonzero(np.diff(found.category[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
        if most is not None:
            order, rank = order[rank < most], rank[rank < most]
        counting = in_range(present.area) & ~present.crowd
        self._match(found, present, order, counting, overlaps)
        categories, each = np.unique(present.category, return_inverse=True)
        objects = np.zeros((len(categories), len(AREA_RANGES)), np.int32)
        np.add.at(objects, each, counting.T)
        self._images[image_id] = _Image(
            category=found.category[order].astype(np.int32),
            score=found.score[order],
            rank=rank.astype(np.int32),
            object_category=categories.astype(np.int32),
            objects=objects,
        )

    def _match(
        self,
        found: Detections,
        present: Objects,
        order: NDArray[np.intp],
        counting: NDArray[np.bool_],
        overlaps: Overlaps[Kind],
    ) -> None:
        category = found.category[order]
        may_be_false = pairs(in_range(found.area[order]))
        if found.certain is not None:
            may_be_false[~found.certain[order]] = 0
        true = {kind: np.zeros(len(order), np.int64) for kind in self._true}
        false = {kind: may_be_false.copy() for kind in self._true}
        for shared in np.intersect1d(category, present.category):
            rows = slice(*np.searchsorted(category, [shared, shared + 1]))
            objects = np.flatnonzero(present.category == shared)
            for kind, values in overlaps(order[rows], objects).items():
                matched, true[kind][rows] = match(values, ~counting[:, objects], present.crowd[objects])
                false[kind][rows] &= ~matched
        for kind in self._true:
            self._true[kind].append(true[kind])
            self._false[kind].append(false[kind])

    def matches(self) -> dict[Kind, Matches]:
        """The matches of all images that were added; those of all kinds have all but the verdicts in common."""
        images = list(self._images.values())
        shared = Matches(
            image_ids=tuple(self._images),
            category_ids=self._category_ids,
            image=_numbers([len(each.score) for each in images]),
            category=_joined([each.category for each in images], np.int32),
            score=_joined([each.score for each in images], np.float64),
            rank=_joined([each.rank for each in images], np.int32),
            true=np.zeros(0, np.int64),
            false=np.zeros(0, np.int64),
            object_image=_numbers([len(each.object_category) for each in images]),
            object_category=_joined([each.object_category for each in images], np.int32),
            objects=_joined([each.objects for each in images], np.int32).reshape(-1, len(AREA_RANGES)),
        )
        return {
            kind: replace(shared, true=_joined(self._true[kind], np.int64), false=_joined(self._false[kind], np.int64))
            for kind in self._true
        }


def _joined(parts: Sequence[NDArray], kind: type) -> NDArray:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _numbers(counts: Sequence[int]) -> NDArray[np.int32]:
    """The index of each image, as often as it has rows."""
    return np.repeat(np.arange(len(counts), dtype=np.int32), np.asarray(counts, np.intp))
