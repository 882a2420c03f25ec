"""Statistics of latencies: percentiles of all samples, none clipped, and ratios paired per round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

import numpy as np


@dataclass(frozen=True)
class Percentiles:
    """Order statistics of ``n`` samples, in the unit of the samples."""

    n: int
    min: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of ``n`` ratios, and the ends of the median's 95 % confidence interval."""

    n: int
    p25: float
    p50: float
    p75: float
    low: float | None = None
    """None for fewer than six ratios, which bound no such interval, and in reports of versions before 0.8."""
    high: float | None = None


@dataclass(frozen=True)
class Quartiles:
    """Median and quartiles, to two decimals."""

    q1: float
    median: float
    q3: float


def percentiles(samples: Sequence[float]) -> Percentiles:
    """Percentiles by linear interpolation between order statistics (NumPy's default)."""
    values = np.asarray(samples, np.float64)
    interpolated = (float(p) for p in np.percentile(values, (50, 90, 95, 99)))
    return Percentiles(len(values), float(values.min()), *interpolated)


def paired_ratio(baseline: Sequence[float], other: Sequence[float]) -> Ratio:
    """How many times faster ``other`` is: the ratios of the two latencies within each round.

    Pairing cancels what changes between rounds, such as the image or the clock frequency.
    """
    ratios = np.asarray(baseline, np.float64) / np.asarray(other, np.float64)
    return Ratio(len(ratios), *(float(p) for p in np.percentile(ratios, (25, 50, 75))))


def quartiles(values: Sequence[float]) -> Quartiles:
    """Quartiles by interpolation as of a sample of a larger population, to two decimals."""
    low, median, high = quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return Quartiles(round(low, 2), round(median, 2), round(high, 2))
