"""Histograms of magnitudes against those of NumPy, in whatever order and however large their values are."""

import math
from functools import reduce

import numpy as np
import pytest

from export.calibration.histogram import BINS, CHUNK, LARGEST, SMALLEST_EXPONENT, Histogram


def values_of(scale: float, shape: tuple[int, ...] = (3, 50, 7)) -> np.ndarray:
    return np.asarray(scale * np.random.default_rng(int(scale)).standard_normal(shape), np.float32)


def reference(values: np.ndarray, exponent: int) -> np.ndarray:
    return np.histogram(np.abs(values.astype(np.float64)), BINS, (0, 2.0**exponent))[0]


@pytest.mark.parametrize("shape", [(3, 50, 7), (CHUNK,), (2, CHUNK + 1), (1,)])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_counts_are_numpy_s(shape: tuple[int, ...], kind: type) -> None:
    values: np.ndarray = values_of(5.0, shape).astype(kind)
    histogram = Histogram.of(values)
    assert histogram.largest == float(np.abs(values).max())
    assert 2.0 ** (histogram.exponent - 1) <= histogram.largest < 2.0**histogram.exponent
    assert histogram.counts.sum() == values.size
    np.testing.assert_array_equal(histogram.counts, reference(values, histogram.exponent))


def test_a_power_of_two_has_a_bin() -> None:
    histogram = Histogram.of(np.array([4.0, -4.0, 0.0], np.float32))
    assert histogram.exponent == 3
    assert (histogram.counts[0], histogram.counts[BINS // 2], histogram.counts.sum()) == (1, 2, 3)


@pytest.mark.parametrize("scales", [(1.0, 8.0, 300.0), (300.0, 1.0, 8.0), (1e-20, 1.0, 1e6), (0.0, 3.0, 1e-3)])
def test_merged_in_any_order_they_are_the_histogram_of_all_values(scales: tuple[float, ...]) -> None:
    parts = [values_of(scale) for scale in scales]
    whole = Histogram.of(np.concatenate(parts))
    for order in (parts, parts[::-1]):
        merged = reduce(Histogram.merged, map(Histogram.of, order))
        assert (merged.exponent, merged.largest) == (whole.exponent, whole.largest)
        np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_array_equal(whole.counts, reference(np.concatenate(parts), whole.exponent))


def test_what_is_held_does_not_grow_with_values_or_images() -> None:
    # ONNX Runtime's collector would add a bin for every width of the first image's bins: 4e12 of them here.
    small = Histogram.of(np.full(10, 1e-6, np.float32))
    held = reduce(Histogram.merged, (Histogram.of(np.full(10, 10.0**n, np.float32)) for n in range(-6, 6)), small)
    assert held.counts.nbytes == small.counts.nbytes == 8 * BINS
    assert held.counts.sum() == 130


@pytest.mark.parametrize("values", [[0.0] * 9, [], [-0.0], [1e-45, -1e-44]])
def test_no_values_but_zeros(values: list[float]) -> None:
    histogram = Histogram.of(np.array(values, np.float32))
    assert histogram.exponent == SMALLEST_EXPONENT
    assert histogram.counts[0] == histogram.counts.sum() == len(values)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 2 * LARGEST])
def test_values_of_which_no_range_can_be_made(wrong: float) -> None:
    for place in (0, CHUNK, CHUNK + 2):
        values = np.ones(CHUNK + 3, np.float32)
        values[place] = wrong
        with pytest.raises(ValueError, match=r"the largest value is .*; expected at most 8e\+06"):
            Histogram.of(values)
