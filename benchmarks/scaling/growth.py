"""How the latency grows: a straight line over detections, a power of pixels, images or threads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.report import Estimate
from benchmarks.scaling.report import PHASES, Growth, Point, ScalingReport, Setting

RESAMPLES = 1000
Series = Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""For each setting, what varies and the latency in ms, both of every round: [rounds] each."""


def fit_growth(report: ScalingReport) -> tuple[Growth, ...]:
    """A fit for every axis, engine and phase with two different places at least."""
    fits = []
    for axis, settings in report.series.items():
        if axis == "base":
            continue
        for engine in report.inputs.engines:
            points = report.of(settings, engine)
            for phase in PHASES:
                measured = [(_place(axis, *each), np.array(each[1].samples_ms[phase])) for each in points]
                if len({float(places.mean()) for places, _ in measured}) > 1:
                    fits.append(_fit(axis, engine, phase, measured))
    return tuple(fits)


def _place(axis: str, setting: Setting, point: Point) -> NDArray[np.float64]:
    """Where the rounds of a setting lie along the axis: what was found, pixels of an image, images or threads."""
    if axis == "detections":
        return np.array(point.detections)
    return np.full(len(point.detections), float(setting.along(axis)))


def _fit(axis: str, engine: str, phase: str, series: Series) -> Growth:
    linear = axis == "detections"
    places = np.array([x.mean() for x, _ in series])
    medians = np.array([np.median(y) for _, y in series])
    (fixed, slope), (fixed_noise, slope_noise) = _line(places, medians, linear), _line(*_resampled(series), linear)
    line = fixed + slope * places if linear else np.exp(fixed + slope * np.log(places))
    return Growth(
        axis=axis,
        engine=engine,
        phase=phase,
        slope=_estimate(slope, slope_noise),
        fixed_ms=_estimate(fixed, fixed_noise) if linear else None,
        misfit=float(np.abs(medians / line - 1).max()),
    )


def _line(
    places: NDArray[np.float64], latencies: NDArray[np.float64], linear: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intercept and slope of the least-squares lines through points [..., settings], or through their logarithms."""
    x, y = (places, latencies) if linear else (np.log(places), np.log(latencies))
    offsets = x - x.mean(-1, keepdims=True)
    # Where a resample has all its points at one place, the slope is unknown, and is none.
    slope = (offsets * y).sum(-1) / np.maximum((offsets**2).sum(-1), np.finfo(np.float64).tiny)
    return y.mean(-1) - slope * x.mean(-1), slope


def _resampled(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean places and median latencies [resamples, settings] of rounds drawn anew within each setting."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(y), (RESAMPLES, len(y))) for _, y in series]
    places = [x[rows].mean(1) for (x, _), rows in zip(series, drawn, strict=True)]
    latencies = [np.median(y[rows], 1) for (_, y), rows in zip(series, drawn, strict=True)]
    return np.stack(places, 1), np.stack(latencies, 1)


def _estimate(value: NDArray[np.float64], noise: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(noise, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high))
