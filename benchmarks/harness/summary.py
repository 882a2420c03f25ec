"""Statistics of latencies: percentiles of all samples, none clipped, and ratios paired per round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

import numpy as np
from numpy.typing import NDArray


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
    """Median and quartiles of ``n`` ratios, and the ends of the median's 95 % confidence interval.

    The interval is one of order statistics: it holds for ratios of any distribution, if the rounds are independent
    draws. Then it covers the median of more rounds over the same images on the same machine in the same state. It says
    nothing of other images, of another machine or of a warmer one. Rounds that repeat an image, or in which one engine
    alone drifts, are alike, and the true interval of such rounds is wider.
    """

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
    return Ratio(len(ratios), *(float(p) for p in np.percentile(ratios, (25, 50, 75))), *_median_interval(ratios))


def _median_interval(values: NDArray[np.float64]) -> tuple[float, float] | tuple[None, None]:
    """The narrowest pair of order statistics, as far from either end, that covers the median with 95 %."""
    number, count, outside, term = len(values), 0, 0, 1
    whole = 2**number
    # Each value is above the median with probability 1/2, so the number of those above is binomial: 1/40 at either end.
    while 40 * (outside + term) <= whole:
        # The next binomial coefficient.
        outside, term = outside + term, term * (number - count) // (count + 1)
        count += 1
    if count == 0:
        return None, None
    ordered = np.sort(values)
    return float(ordered[count - 1]), float(ordered[-count])


def quartiles(values: Sequence[float]) -> Quartiles:
    """Quartiles by interpolation as of a sample of a larger population, to two decimals."""
    low, median, high = quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return Quartiles(round(low, 2), round(median, 2), round(high, 2))
