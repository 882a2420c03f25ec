"""Percentiles and ratios against hand-made samples."""

import pytest

from benchmarks.harness.summary import Ratio, Summary, paired_ratio, summarize


def test_percentiles_of_a_hundred_and_one_samples_in_any_order() -> None:
    samples = [float(i * 37 % 101) for i in range(101)]
    assert summarize(samples) == Summary(n=101, min=0, p50=50, p90=90, p95=95, p99=99)


def test_an_outlier_is_kept() -> None:
    assert summarize([1.0] * 9 + [1000.0]).p99 == pytest.approx(1 + 0.91 * 999)


def test_one_sample() -> None:
    assert summarize([3.0]) == Summary(1, 3, 3, 3, 3, 3)


def test_ratios_are_paired_before_the_median() -> None:
    # Twice as fast in every round, though the rounds themselves differ tenfold.
    assert paired_ratio([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == Ratio(3, 2, 2, 2)
    assert paired_ratio([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]) == Ratio(3, 1.5, 2, 3)
