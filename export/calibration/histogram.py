"""How often the magnitudes of a tensor's values occur: all that the choice of a range needs to know of them.

A bin is as wide as a power of two, and twice as wide when a larger value comes. So the memory does not grow, the bin of
a value is exact, and the histogram of some images is the same in whatever order they came.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 4096
"""Number of bins. The largest value lies in the upper half of them."""
LARGEST = 8e6
"""Largest magnitude of a range: float16 can hold its 127th part."""
SMALLEST_EXPONENT = -64
"""Magnitudes far below 2 to this power all lie in the first bin: they are as good as 0."""
MOST = 2**49
"""Most values in a bin: so many that float64 holds the sum of all bins."""
CHUNK = 1 << 16
"""Number of values that are counted at once: what is computed of them stays in the processor's cache."""


@dataclass(frozen=True)
class Histogram:
    """The magnitudes of some values."""

    counts: NDArray[np.int64]
    """[BINS] number of magnitudes in each bin, from 0 on."""
    exponent: int
    """The last bin ends at 2 to this power, which is above every magnitude."""
    largest: float
    """Largest magnitude; 0 for no values."""

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Histogram":
        """The histogram of an array of floating-point numbers, of any shape.

        Raises:
            ValueError: a value is NaN, infinite or above :data:`LARGEST`.
        """
        flat = values.reshape(-1)
        chunks = [flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK)]
        # In NumPy the largest of some values is NaN if one of them is; Python's max may pass over it.
        largest = float(np.max([np.abs(chunk).max() for chunk in chunks], initial=0.0))
        if not largest <= LARGEST:
            raise ValueError(f"the largest value is {largest:g}; expected at most {LARGEST:g}")
        exponent = _exponent(largest)
        bins_per_unit = np.float32(BINS * 2.0**-exponent)
        counts = np.zeros(BINS, np.int64)
        for chunk in chunks:
            positions = np.abs(chunk.astype(np.float32)) * bins_per_unit
            counts += np.bincount(positions.astype(np.int64), minlength=BINS)
        return cls(counts, exponent, largest)

    def require_possible(self, name: str) -> None:
        """Raise a ValueError, which has the tensor's name, unless :meth:`of` can have made this of some values."""
        if self.counts.dtype != np.int64 or not 0 <= self.counts.min() <= self.counts.max() <= MOST:
            raise ValueError(f"{name}: expected counts from 0 to {MOST}")
        if not (isinstance(self.largest, float) and 0 <= self.largest <= LARGEST):
            raise ValueError(f"{name}: the largest value is {self.largest}; expected 0 to {LARGEST:g}")
        if self.exponent != _exponent(self.largest):
            raise ValueError(f"{name}: the exponent {self.exponent} is not that of the largest value {self.largest:g}")
        if not self.counts[int(self.largest / self.width)]:
            raise ValueError(f"{name}: the bin of the largest value {self.largest:g} is empty")

    @property
    def width(self) -> float:
        """The width of a bin."""
        return 2.0**self.exponent / BINS

    def merged(self, other: "Histogram") -> "Histogram":
        """The histogram of the values of both."""
        exponent = max(self.exponent, other.exponent)
        counts = self._counts_up_to(exponent) + other._counts_up_to(exponent)
        return Histogram(counts, exponent, max(self.largest, other.largest))

    def _counts_up_to(self, exponent: int) -> NDArray[np.int64]:
        """The counts in bins of which the last one ends at 2 to this power, which is not less than its own."""
        joined = min(2 ** (exponent - self.exponent), BINS)
        counts = np.zeros(BINS, np.int64)
        counts[: BINS // joined] = self.counts.reshape(-1, joined).sum(axis=1)
        return counts


def _exponent(largest: float) -> int:
    # The exponent of 0 is 0, as if it were a large number.
    return max(int(np.frexp(largest)[1]), SMALLEST_EXPONENT) if largest else SMALLEST_EXPONENT
