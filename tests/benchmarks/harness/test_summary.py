"""Percentiles and ratios against hand-made samples."""

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


def test_quartiles_of_a_sample_of_a_larger_population() -> None:
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == Quartiles(1.5, 3, 4.5)
    assert quartiles([1.234]) == Quartiles(1.23, 1.23, 1.23)
