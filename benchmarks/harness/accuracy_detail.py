"""What stands behind the accuracies of several engines: intervals by the same resamples, classes, and curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.report import AccuracyDetail, Estimate
from refinemask.evaluation.average_precision import mean_of_known, precision
from refinemask.evaluation.bootstrap import interval, resample, resampled_ap
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.matches import Matches

DIGITS = 6
"""Decimals of the curves."""


@dataclass(frozen=True)
class _Judged:
    """One engine by one kind of overlap."""

    precision: NDArray[np.float64]
    """[C, 10, 101] in all areas; NaN for a class without objects."""
    samples: NDArray[np.float64]
    """[B] AP of each resample."""
    classes: tuple[int, ...]
    """[C] ids of the classes."""

    @property
    def ap(self) -> float:
        """AP, or -1 if there is no object to find."""
        return mean_of_known(self.precision)


def accuracy_details(
    engines: Sequence[Mapping[IoUType, Matches]], class_names: Mapping[int, str], resamples: int
) -> list[AccuracyDetail]:
    """What stands behind the accuracy of each engine; the first is the baseline of the others.

    Args:
        engines: matches of each by kind of overlap, all of the same images.
        class_names: names of the classes by id.
        resamples: number of bootstrap resamples of the images; 0 leaves the intervals out.

    Raises:
        ValueError: the matches are of different images.
    """
    images = {matches.image_ids for kinds in engines for matches in kinds.values()}
    if len(images) != 1:
        raise ValueError(f"expected matches of the same images, found {len(images)} different sets")
    draws = resample(len(images.pop()), resamples)
    judged = [
        {
            kind: _Judged(precision(matches)[:, 0], resampled_ap(matches, draws), matches.category_ids)
            for kind, matches in kinds.items()
        }
        for kinds in engines
    ]
    return [
        AccuracyDetail(
            ap=_estimates({kind: (each.ap, each.samples) for kind, each in own.items()}),
            change={} if own is judged[0] else _estimates(_changes(judged[0], own)),
            per_class={
                kind: {
                    class_names[category]: mean_of_known(values)
                    for category, values in zip(each.classes, each.precision, strict=True)
                }
                for kind, each in own.items()
            },
            precision_recall={kind: _curves(each.precision) for kind, each in own.items()},
        )
        for own in judged
    ]


def _changes(
    first: Mapping[IoUType, _Judged], other: Mapping[IoUType, _Judged]
) -> dict[IoUType, tuple[float, NDArray[np.float64]]]:
    # Results of boxes alone have no other kind.
    return {kind: (each.ap - first[kind].ap, each.samples - first[kind].samples) for kind, each in other.items()}


def _estimates(figures: Mapping[IoUType, tuple[float, NDArray[np.float64]]]) -> dict[str, Estimate]:
    """Figures with their intervals; those without a resample that has the figure are left out."""
    ends = {kind: (value, interval(samples)) for kind, (value, samples) in figures.items()}
    return {kind: Estimate(value, *between) for kind, (value, between) in ends.items() if between is not None}


def _curves(found: NDArray[np.float64]) -> dict[str, tuple[float, ...]]:
    """Precision [C, 10, 101], averaged over the classes with objects; nothing if there are none."""
    known = found[np.isfinite(found).all((1, 2))]
    if not len(known):
        return {}
    mean = known.mean(0)
    curves = {"AP50": mean[0], "AP75": mean[5], "AP": mean.mean(0)}
    return {name: tuple(round(value, DIGITS) for value in curve.tolist()) for name, curve in curves.items()}
