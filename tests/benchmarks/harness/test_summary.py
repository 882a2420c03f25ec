"""Percentiles and ratios against hand-made samples."""

import numpy as np
import pytest

from benchmarks.harness.summary import Percentiles, Quartiles, Ratio, paired_ratio, percentiles, quartiles


def test_percentiles_of_a_hundred_and_one_samples_in_any_order() -> None:
    samples = [float(i * 37 % 101) for i in range(101)]
    assert percentiles(samples) == Percentiles(n=101, min=0, p50=50, p90=90, p95=95, p99=99)


def test_an_outlier_is_kept() -> None:
    assert percentiles([1.0] * 9 + [1000.0]).p99 == pytest.approx(1 + 0.91 * 999)


def test_one_sample() -> None:
    assert percentiles([3.0]) == Percentiles(1, 3, 3, 3, 3, 3)


def test_ratios_are_paired_before_the_median() -> None:
    # Twice as fast in every round, though the rounds themselves differ tenfold.
    assert paired_ratio([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == Ratio(3, 2, 2, 2)
    assert paired_ratio([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]) == Ratio(3, 1.5, 2, 3)


@pytest.mark.parametrize(("count", "place"), [(6, 1), (8, 1), (9, 2), (20, 6), (100, 40), (1000, 469), (5000, 2431)])
def test_the_interval_of_the_median_is_that_of_the_sign_test(count: int, place: int) -> None:
    # Places of the lower end in the published tables of the sign test, two-sided at 5 %.
    ratio = paired_ratio([float(number) for number in range(count, 0, -1)], [1.0] * count)
    assert (ratio.low, ratio.high) == (place, count + 1 - place)


def test_fewer_than_six_rounds_bound_no_interval() -> None:
    ratio = paired_ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5)
    assert (ratio.low, ratio.high) == (None, None)


@pytest.mark.parametrize("count", [7, 25])
def test_the_interval_of_the_median_covers_it(count: int) -> None:
    rng = np.random.default_rng(count)
    ratios = [paired_ratio(rng.lognormal(size=count).tolist(), [1.0] * count) for _ in range(500)]
    covered = sum(ratio.low is not None and ratio.low <= 1 <= (ratio.high or 0) for ratio in ratios)
    assert 465 <= covered <= 500


def test_quartiles_of_a_sample_of_a_larger_population() -> None:
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == Quartiles(1.5, 3, 4.5)
    assert quartiles([1.234]) == Quartiles(1.23, 1.23, 1.23)
