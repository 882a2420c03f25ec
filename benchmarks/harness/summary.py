"""Statistics of latencies: percentiles of all samples, none clipped, and ratios paired per round."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Order statistics of ``n`` samples, in the unit of the samples."""

    n: int
    min: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of ``n`` ratios."""

    n: int
    p25: float
    p50: float
    p75: float


def summarize(samples: Sequence[float]) -> Summary:
    """Percentiles by linear interpolation between order statistics (NumPy's default)."""
    values = np.asarray(samples, np.float64)
    percentiles = (float(p) for p in np.percentile(values, (50, 90, 95, 99)))
    return Summary(len(values), float(values.min()), *percentiles)


def paired_ratio(baseline: Sequence[float], other: Sequence[float]) -> Ratio:
    """How many times faster ``other`` is: the ratios of the two latencies within each round.

    Pairing cancels what changes between rounds, such as the image or the clock frequency.
    """
    ratios = np.asarray(baseline, np.float64) / np.asarray(other, np.float64)
    return Ratio(len(ratios), *(float(p) for p in np.percentile(ratios, (25, 50, 75))))
