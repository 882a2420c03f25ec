"""Charts: their marks lie where the numbers say, and every one tells its numbers."""

import re

import numpy as np
import pytest

from refinemask.page.changes import Change, changes
from refinemask.page.intervals import Interval, intervals
from refinemask.page.lines import HEIGHT, Line, lines
from refinemask.page.scales import Scale
from refinemask.page.scatter import Point, scatter
from refinemask.page.series import COLOURS, Series, key
from refinemask.page.stacked_bars import StackedBar, stacked_bars
from refinemask.page.strips import MOST_DOTS, QUANTILES, Strip, strips
from tests.support.html_page import Reader

EVIL = "<b>\"x\"</b> & 'y'"
ONE, TWO = Series(1, EVIL), Series(2, "two")


def numbers(pattern: str, html: str) -> list[float]:
    """The numbers that a pattern's group finds, which are places or widths in percent."""
    return [float(number) for number in re.findall(pattern, html)]


def require_told(html: str, *texts: str) -> None:
    """Assert that names are text, and that drawings have a role, a title and a description."""
    page = Reader(html)
    assert EVIL in page.texts or any(EVIL in text for text in page.texts)
    assert "b" not in page.tags
    assert ("role", "img") in page.attributes
    assert {"title", "desc"} <= page.tags
    for text in texts:
        assert any(text in told for told in page.texts), text


def test_long_latencies_are_no_powers_of_ten_and_labels_stay_on_the_chart() -> None:
    html = strips([Strip(ONE, [3230.1, 13231.75, 23034.5]), Strip(TWO, [300.0, 2002.8, 31000.0])], "ms")
    assert "13,232" in html
    assert "e+" not in html
    places = re.findall(r'<text x="([\d.]+)%" y="14" text-anchor="(\w+)">', html)
    assert {anchor for place, anchor in places if float(place) > 93} == {"end"}


def test_strips_draw_some_and_count_all() -> None:
    samples = np.random.default_rng(0).lognormal(5, 1, 5000).tolist()
    row = Strip(ONE, samples)
    html = strips([row], "ms")
    require_told(html, "5,000 samples", f"median {np.median(samples):,.4g}", "logarithmic")
    assert row.thinned
    assert row.quantiles() == pytest.approx(np.quantile(samples, QUANTILES))
    (path,) = re.findall(' d="(.*?)"', html)
    places = numbers(r"M(\d+) ", path)
    assert len(places) == MOST_DOTS
    assert places[0] < 100 < 900 < places[-1], "the ends are drawn"


@pytest.mark.parametrize("samples", [[3.0], [0.0, 0.0], [0.0, 5.0], [2.0] * 7])
def test_few_and_equal_samples(samples: list[float]) -> None:
    html = strips([Strip(ONE, samples)], "ms")
    require_told(html, f"{len(samples)} samples")
    assert "nan" not in html


def test_bars_are_as_long_as_their_parts() -> None:
    html = stacked_bars([StackedBar(ONE, {"a": 1, EVIL: 3}, "4 ms"), StackedBar(TWO, {"a": 2}, "2 ms")], "ms")
    require_told(html, "4 ms", f"a 1, {EVIL} 3")
    assert numbers(r'width="([\d.]+)%" height="18"', html) == [25, 75, 50, 0]
    assert numbers(r'x="([\d.]+)%" y="5"', html) == [0, 25, 0, 50]


def test_bars_of_nothing() -> None:
    require_told(stacked_bars([StackedBar(ONE, {"a": 0}, "0 ms")], "ms"), "0 ms")


def test_changes_lie_on_their_side_of_zero() -> None:
    html = changes(
        [Change(EVIL, 2.0, "+2.00"), Change("less", -1.0, "−1.00"), Change("same", 0, "+0.00")], "AP", least=1
    )
    require_told(html, "+2.00", "−1.00")
    places = numbers(r'<rect class="\w+" x="([\d.]+)%"', html)
    widths = numbers(r' y="7" width="([\d.]+)%"', html)
    assert places[0] == pytest.approx(50)
    assert places[1] + widths[1] == pytest.approx(50)
    assert widths == pytest.approx([2 * widths[1], widths[1], 0], rel=1e-3)
    assert [kind for kind in re.findall('rect class="(gain|loss)', html)][:2] == ["gain", "loss"]


def test_whiskers_reach_over_the_interval() -> None:
    html = intervals([Interval(ONE, 2, "2.00×", "1 to 3", 1, 3), Interval(TWO, 2, "2.00×")], "times", zero=1)
    require_told(html, f"{EVIL}: 2.00× (1 to 3)", "two: 2.00×")
    (middle, other) = numbers(r'cx="([\d.]+)%"', html)
    (low, high, *_) = (float(end) for end in re.findall(r'whisker c0" x1="([\d.]+)%" x2="([\d.]+)%"', html)[0])
    assert middle == other == pytest.approx((low + high) / 2, abs=0.01)
    assert "whisker c1" not in html


def test_a_point_lies_at_its_figures() -> None:
    points = [
        Point(Interval(each, x, f"{x}×"), Interval(each, y, f"{y} AP", "", y - 1, y + 1))
        for each, x, y in ((ONE, 1.0, 50.0), (TWO, 2.0, 54.0))
    ]
    html = scatter(points, "Speed", ("speed-up", "AP"), least=2)
    require_told(html, "two: 2.0× and 54.0 AP")
    left, right = numbers(r'cx="([\d.]+)%"', html)
    below, above = numbers(r' cy="([\d.]+)"', html)
    assert left < right
    assert above < below
    ends = [tuple(map(float, pair)) for pair in re.findall(r'whisker c0".*?y1="([\d.]+)" y2="([\d.]+)"', html)]
    assert sum(ends[0]) / 2 == pytest.approx(below, abs=0.1)


def test_a_curve_goes_through_its_points() -> None:
    html = lines([Line(ONE, [0, 0.5, 1], [1, 1, 0])], "Curve", ("recall", "precision"), (Scale(0, 1), Scale(0, 1)))
    require_told(html, "Curve")
    assert re.findall('points="(.*?)"', html) == [f"0,0.0 500,0.0 1000,{HEIGHT}.0"]


def test_series_of_one_colour_differ_in_number_and_dashes() -> None:
    first, ninth = Series(1, "a"), Series(1 + COLOURS, "b")
    assert first.colour == ninth.colour
    assert first.dash != ninth.dash
    assert Reader(key([first, ninth])).texts == ["1", "a", "9", "b"]
