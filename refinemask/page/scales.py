"""From numbers to places on an axis, in percent of its length."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

LOG_FROM = 4.0
"""Ratio of the largest to the smallest value from which an axis of positive values is logarithmic."""
MOST_TICKS = 6
"""Largest number of labels that stand side by side on a phone."""


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``."""

    low: float
    high: float
    log: bool = False

    def percent(self, value: float) -> float:
        """Distance from the axis's beginning, 0 to 100; values beyond an end lie on it."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return 100 * math.log(value / self.low) / math.log(self.high / self.low)
        return 100 * (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = MOST_TICKS) -> list[float]:
        """At most ``most`` round numbers on the axis."""
        if self.log:
            ticks = self._log_ticks(most)
            if len(ticks) >= 3:
                return ticks
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        for factor in (1, 2, 5, 10, 20):
            first = math.ceil(self.low / (step * factor) - 1e-9)
            last = math.floor(self.high / (step * factor) + 1e-9)
            if last - first < most:
                break
        return [number * step * factor for number in range(first, last + 1)]

    def _log_ticks(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for leaps, digits in ((1, (1, 2, 5)), *((leap, (1,)) for leap in range(1, 20))):
            ticks = [digit * 10.0**power for power in range(first, last + 1, leaps) for digit in digits]
            ticks = [tick for tick in ticks if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]
            if len(ticks) <= most:
                return ticks
        return []


def fit(values: Iterable[float], *, log: bool = False, least: float = 0.0, room: float = 0.06) -> Scale:
    """The axis on which values lie.

    Args:
        values: numbers, of which those that are not finite are passed over.
        log: whether the axis is logarithmic if the values are positive and far apart.
        least: smallest length of the axis, so that trifles do not look large.
        room: share of the length that stays free at either end.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if log and low > 0 and high / low >= LOG_FROM:
        margin = (high / low) ** room
        return Scale(low / margin, high * margin, log=True)
    length = max(high - low, least, 1e-6 * max(abs(low), abs(high)), 1e-12)
    middle = (low + high) / 2
    half = length * (0.5 + room)
    # An axis of positive values does not reach below zero.
    start = max(middle - half, 0.0) if low >= 0 else middle - half
    return Scale(start, start + 2 * half)


def labels(ticks: Sequence[float]) -> list[str]:
    """The ticks' numbers, with as many decimals as tell them apart."""
    gaps = [b - a for a, b in pairwise(ticks)]
    if gaps and max(gaps) < 1.5 * min(gaps):
        decimals = max(0, -math.floor(math.log10(min(gaps)) + 1e-9))
        texts = [f"{tick + 0.0:,.{decimals}f}" for tick in ticks]
    else:
        texts = [f"{tick:,.10g}" if abs(tick) < 1e6 else f"{tick:.0e}" for tick in ticks]
    return [text.replace("-", "−") for text in texts]
