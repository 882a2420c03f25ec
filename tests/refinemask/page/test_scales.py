"""Axes: where numbers lie, and which of them get a label."""

import math

import pytest

from refinemask.page.scales import MOST_TICKS, Scale, fit, labels


@pytest.mark.parametrize("scale", [Scale(2, 4), Scale(2, 200, log=True), Scale(-3, 7)])
def test_ends_and_what_lies_beyond(scale: Scale) -> None:
    assert [scale.percent(value) for value in (-1e9, scale.low, scale.high, 1e9)] == [0, 0, 100, 100]


def test_a_logarithmic_axis_has_equal_ratios() -> None:
    assert Scale(1, 100, log=True).percent(10) == pytest.approx(50)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values", [[1, 1], [0, 0], [54.2, 54.3], [0.001, 5000], [3, 1e7], [-2, 1], [1e-9, 2e-9], [100, 400], [0.9, 4.2]]
)
def test_ticks_are_few_distinct_and_on_the_axis(values: list[float], log: bool) -> None:
    scale = fit(values, log=log)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= MOST_TICKS
    slack = 1e-9 * max(abs(scale.low), abs(scale.high))
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)
    assert len(set(labels(ticks))) == len(ticks)


def test_trifles_do_not_look_large() -> None:
    scale = fit([54.00, 54.04], least=2)
    assert scale.high - scale.low >= 2
    assert scale.percent(54.04) - scale.percent(54.00) < 2


def test_all_values_are_on_the_axis_and_others_are_passed_over() -> None:
    scale = fit([3, math.nan, 9, math.inf])
    assert 0 <= scale.low < 3 < 9 < scale.high < 10


def test_labels() -> None:
    assert labels([-0.5, 0, 0.5]) == ["−0.5", "0.0", "0.5"]
    assert labels([1, 10, 100, 1000]) == ["1", "10", "100", "1,000"]
    assert labels([0, 20, 40]) == ["0", "20", "40"]
