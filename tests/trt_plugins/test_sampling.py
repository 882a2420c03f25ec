"""RoIAlign's arithmetic against plain float64 sums over samples."""

import ctypes
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refinemask.ops import roi_levels
from tests.support.tolerances import TOLERANCES

coordinates = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.floats(-200, 1600, width=32)
bins = st.sampled_from([1, 3, 7, 14, 56])


def axis_weights(
    functions: ctypes.CDLL, low: float, high: float, level: int, extent: int, bins: int, ratio: int
) -> tuple[np.ndarray, np.ndarray]:
    weights, counts = np.zeros((bins, extent)), np.zeros(bins, np.int32)
    functions.host_axis_weights(
        ctypes.c_float(low),
        ctypes.c_float(high),
        level,
        extent,
        bins,
        ratio,
        weights.ctypes.data_as(ctypes.c_void_p),
        counts.ctypes.data_as(ctypes.c_void_p),
    )
    return weights, counts


def expected_weights(low: float, high: float, level: int, extent: int, bins: int, ratio: int) -> np.ndarray:
    """torchvision's rule, sample by sample, with coordinates in float32 as it has them."""
    with np.errstate(all="ignore"):
        scale, f = np.float32(1 / (4 << level)), np.float32
        start = f(f(low) * scale - f(0.5))
        size = f(f(f(high) * scale - f(0.5)) - start) / f(bins)
        samples = ratio or (math.ceil(size) if np.isfinite(size) else 0)
        weights = np.zeros((bins, extent))
        for b in range(bins):
            for i in range(max(samples, 0)):
                x = f(f(start + f(b) * size) + f(f(f(i) + f(0.5)) * size) / f(samples))
                if not -1 <= x <= extent:
                    continue
                x = max(float(x), 0.0)
                cell = min(int(x), extent - 1)
                fraction = 0.0 if cell == extent - 1 else x - cell
                weights[b, cell] += (1 - fraction) / samples
                weights[b, min(cell + 1, extent - 1)] += fraction / samples
    return weights


@given(
    low=coordinates,
    size=st.floats(-500, 3000, width=32),
    level=st.integers(0, 3),
    bins=bins,
    extent=st.integers(1, 200),
    ratio=st.integers(0, 4),
)
@example(low=0, size=1344, level=0, bins=14, extent=336, ratio=0)
@example(low=float("nan"), size=1, level=0, bins=7, extent=20, ratio=0)
@example(low=-1e30, size=3000, level=0, bins=7, extent=20, ratio=2)
@settings(max_examples=300, deadline=None)
def test_taps_sum_the_samples(
    host_functions: ctypes.CDLL, low: float, size: float, level: int, bins: int, extent: int, ratio: int
) -> None:
    high = float(np.float32(low) + np.float32(size))
    weights, counts = axis_weights(host_functions, low, high, level, extent, bins, ratio)
    tolerance = TOLERANCES["sampling weights"]
    expected = expected_weights(low, high, level, extent, bins, ratio)
    np.testing.assert_allclose(weights, expected, atol=tolerance.absolute, rtol=tolerance.relative)
    if abs(low) < 2**22:
        assert counts.sum() <= host_functions.host_max_taps(extent, bins, ratio)


@given(low=coordinates, high=coordinates, bins=bins, extent=st.integers(1, 300))
@settings(max_examples=300, deadline=None)
def test_any_box_costs_no_more_than_the_map(
    host_functions: ctypes.CDLL, low: float, high: float, bins: int, extent: int
) -> None:
    weights, counts = axis_weights(host_functions, low, high, 0, extent, bins, 0)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.sum(1).max() <= 1 + 1e-5
    assert (counts <= extent + 1).all()


def test_the_worst_case_reads_each_cell_about_once(host_functions: ctypes.CDLL) -> None:
    """A full-image box on a 200 × 336 map: the taps of all bins, against four for each sample."""
    rows = axis_weights(host_functions, 0, 800, 0, 200, 14, 0)[1].sum()
    columns = axis_weights(host_functions, 0, 1344, 0, 336, 14, 0)[1].sum()
    samples = (14 * 15) * (14 * 24)
    assert rows * columns <= 1.2 * 200 * 336
    assert 4 * samples >= 3 * rows * columns


@given(st.lists(st.floats(-100, 2000, width=32), min_size=4, max_size=4), st.integers(1, 4))
@example([0, 0, 112, 112], 4)
@example([0, 0, 448, 448], 4)
@example([112, 112, 0, 0], 4)
def test_level_is_the_reference(host_functions: ctypes.CDLL, box: list[float], levels: int) -> None:
    expected = int(roi_levels(torch.tensor([[0, *box]]), levels, 56))
    found = host_functions.host_roi_level((ctypes.c_float * 4)(*box), 56, levels)
    assert found == expected


@pytest.mark.parametrize("divisor", [1, 3, 7, 33, 49, 336, 1000, 65535])
def test_divisor_is_exact_where_indices_lie(host_functions: ctypes.CDLL, divisor: int) -> None:
    edges = {k * divisor + d for k in (0, 1, 2, 5, (1 << 21) // divisor - 1) for d in (-1, 0, 1)}
    for n in (n for n in edges if 0 <= n < 1 << 21):
        assert host_functions.host_quotient(n, divisor) == n // divisor
