"""Ranges against brute force on the values themselves."""

from typing import get_args

import numpy as np
import pytest

from export.calibration.histogram import BINS, Histogram
from export.calibration.methods import ENTROPY_BINS, LEVELS, Method, choose_range

METHODS: tuple[Method, ...] = get_args(Method)
RANDOM = np.random.default_rng(3)
TENSORS = {
    "normal": RANDOM.standard_normal(4000),
    "rectified": np.maximum(RANDOM.standard_normal(4000), 0),
    "negative only": -np.abs(RANDOM.standard_t(3, 4000)),
    "long tail": RANDOM.standard_t(2, 4000),
    "even": RANDOM.uniform(0, 37, 4000),
    "two values": np.array([0.1] * 3000 + [7.0]),
}


def histogram_of(values: np.ndarray) -> Histogram:
    return Histogram.of(values.astype(np.float32))


@pytest.mark.parametrize("name", TENSORS)
def test_the_squared_error_is_nearly_the_least_that_any_range_gives(name: str) -> None:
    values = np.abs(TENSORS[name])

    def error(limit: float) -> float:
        step = limit / 127
        return float(((np.clip(np.rint(values / step), 0, 127) * step - values) ** 2).sum())

    found = choose_range(histogram_of(values), "mse")
    least = min(error(limit) for limit in np.linspace(values.max() / 400, values.max(), 400))
    # A histogram knows a value to half a bin, which is a tenth of a step at most.
    assert error(found) <= 1.05 * least


def test_of_values_in_the_middle_of_bins_the_range_of_the_least_squared_error_is_exact() -> None:
    # One value lies apart, so that the best range cuts it a little.
    places = np.concatenate([np.random.default_rng(0).integers(0, 3400, 3000), [BINS - 1]])
    values = (places + 0.5) * 2.0**3 / BINS
    ends = np.arange(LEVELS, BINS + 1) * 2.0**3 / BINS

    def error(end: float) -> float:
        step = end / LEVELS
        return float(((np.minimum(np.rint(values / step), LEVELS) * step - values) ** 2).sum())

    errors = [error(float(end)) for end in ends]
    found = choose_range(histogram_of(values), "mse")
    assert error(found) == pytest.approx(min(errors), rel=1e-9)
    # Ranges that are a bin apart are told from each other.
    assert np.partition(errors, 1)[1] > (1 + 1e-8) * min(errors)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("method", [name for name in METHODS if name.startswith("percentile")])
def test_percentiles_are_those_of_the_values_to_a_bin(method: Method, name: str) -> None:
    histogram = histogram_of(TENSORS[name])
    share = float(method.partition("-")[2]) / 100
    ordered = np.sort(np.abs(TENSORS[name]))
    expected = ordered[int(np.ceil(share * len(ordered))) - 1]
    assert abs(choose_range(histogram, method) - expected) <= 1.01 * histogram.width


@pytest.mark.parametrize("name", ["normal", "rectified", "long tail"])
def test_entropy_is_the_least_divergence_of_all_ranges(name: str) -> None:
    histogram = histogram_of(TENSORS[name])
    counts = np.trim_zeros(histogram.counts, "b")
    joined = -(-len(counts) // ENTROPY_BINS)
    counts = np.pad(counts, (0, -len(counts) % joined)).reshape(-1, joined).sum(axis=1)
    ends = np.arange(LEVELS, len(counts) + 1)
    best = ends[int(np.argmin([divergence(counts, int(end)) for end in ends]))]
    assert choose_range(histogram, "entropy") == pytest.approx(min(best * joined * histogram.width, histogram.largest))


def divergence(counts: np.ndarray, end: int) -> float:
    """Of the clipped distribution from the rounded one, as ONNX Runtime has it, written out anew."""
    both = np.concatenate([counts[::-1], counts]).astype(np.int64)
    middle, levels = len(counts), 2 * LEVELS + 1
    start, stop = middle - end, min(middle + end + 1, len(both))
    clipped, inside = both[start:stop].copy(), both[start:stop]
    clipped[0] += both[:start].sum()
    clipped[-1] += both[stop:].sum()
    width = len(inside) // levels
    groups = inside[: levels * width].reshape(levels, width).sum(axis=1)
    groups[-1] += inside[levels * width :].sum()
    filled = (clipped[: levels * width] != 0).reshape(levels, width).sum(axis=1)
    means = np.where(filled, groups / np.maximum(filled, 1), 0).astype(np.int64)
    rounded = np.zeros_like(clipped)
    rounded[: levels * width] = np.repeat(means, width)
    p, q = (smoothed(each) for each in (clipped, rounded))
    return float((p * np.log(p / q)).sum())


def smoothed(counts: np.ndarray) -> np.ndarray:
    zeros = int((counts == 0).sum())
    result = np.where(counts == 0, 1e-4, counts - 1e-4 * zeros / (len(counts) - zeros))
    return result / result.sum()


@pytest.mark.parametrize("method", METHODS)
def test_a_sign_makes_no_difference_and_nothing_is_printed(method: Method, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.abs(TENSORS["normal"])
    assert choose_range(histogram_of(values), method) == choose_range(histogram_of(-values), method)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-18, 1.0, 7e6])
def test_a_range_is_above_0_and_at_most_the_largest_value(method: Method, scale: float) -> None:
    for values in (np.eye(1, 100_000), np.ones(1), np.linspace(-1, 0, 50)):
        histogram = histogram_of(scale * values)
        assert 0 < choose_range(histogram, method) <= histogram.largest


@pytest.mark.parametrize("method", METHODS)
def test_zeros_have_no_range(method: Method) -> None:
    assert choose_range(histogram_of(np.zeros(1000)), method) == 0
    assert choose_range(histogram_of(np.full(3, 1e-30)), method) == 0
    assert choose_range(Histogram(np.zeros(BINS, np.int64), 0, 0.0), method) == 0
