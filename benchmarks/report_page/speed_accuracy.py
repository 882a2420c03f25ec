"""Speed against accuracy, and the speed-ups and changes of AP by themselves."""

from collections.abc import Sequence
from html import escape

from benchmarks.harness.report import ComparisonReport, Estimate, OtherReport
from benchmarks.harness.summary import Ratio
from benchmarks.harness.tables import points
from benchmarks.report_page.names import (
    STATED,
    Judged,
    ap_of,
    change_estimate,
    change_of,
    change_text,
    engine_series,
    estimate_interval,
    judged_series,
    other_series,
    ratio_interval,
    ratio_text,
)
from refinemask.page.intervals import Interval, intervals
from refinemask.page.scatter import Point, scatter
from refinemask.page.series import Series, key

LEAST_AP = 2.0
"""Smallest length of an axis of AP, in points of a hundred."""
KINDS = {"segm": "mask AP", "boundary": "boundary AP"}
BETTER = (
    "Better is up and to the right. Whiskers are 95 % intervals, as far as the report has them. The numbers stand in "
    "the table of the engines."
)
STATED_SPEED = " A dashed mark is a detector that was not run: its speed was stated, on whatever machine."


def speed_accuracy(report: ComparisonReport) -> str:
    """Speed against mask AP and boundary AP; empty without accuracy."""
    judged = judged_series(report)
    cards = speed_cards(judged, "speed-up, engine phase")
    if not cards:
        return ""
    stated = any(other.stated_speedup for other in report.others or ())
    names = key([series for series, each in judged if _speed(series, each) is not None])
    return f'<div class="cards">{cards}</div>{names}<p class="caption">{BETTER}{STATED_SPEED if stated else ""}</p>'


def speed_cards(judged: Sequence[tuple[Series, Judged]], unit: str, title: str = "") -> str:
    """A card for mask AP and one for boundary AP, as far as they were measured.

    Args:
        judged: what is drawn, if its speed and its AP are known.
        unit: what the axis of speed counts.
        title: heading of the cards, as plain text.
    """
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    cards = []
    for kind, name in KINDS.items():
        found = [
            Point(speed, _ap(series, each, kind, value))
            for series, each in judged
            if (value := ap_of(each, kind)) is not None and (speed := _speed(series, each)) is not None
        ]
        if found:
            drawn = scatter(found, f"Speed against {name}", (unit, name), least=LEAST_AP)
            cards.append(f'<figure class="card">{heading}{drawn}</figure>')
    return "".join(cards)


def speed_ups(report: ComparisonReport) -> str:
    """Speed-ups over the first engine, in the engine phase and end to end; empty if there is none."""
    pairs = list(zip(engine_series(report.engines), report.engines, strict=True))[1:]
    stated = [_stated_speed(series, other) for series, other in other_series(report)]
    charts = {
        "Engine phase": [
            *(ratio_interval_of(series, engine.speedup) for series, engine in pairs),
            *(speed for speed in stated if speed is not None),
        ],
        "End to end": [ratio_interval_of(series, engine.speedup_end_to_end) for series, engine in pairs],
    }
    unit = "times the speed of the first engine"
    cards = [
        f'<figure class="card"><h3>{name}</h3>{intervals(figures, unit, zero=1.0, least=0.2, log=True)}</figure>'
        for name, figures in charts.items()
        if figures
    ]
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def ap_changes(report: ComparisonReport) -> str:
    """Changes of AP against the first engine with their intervals; empty without accuracy or for one alone."""
    cards = []
    for kind, name in KINDS.items():
        figures = [
            _change(series, each, kind, change)
            for series, each in judged_series(report)[1:]
            if (change := change_of(each, report.engines[0], kind)) is not None
        ]
        if figures:
            drawn = intervals(figures, "points of AP", zero=0.0, least=1.0)
            cards.append(f'<figure class="card"><h3>Change of {name}</h3>{drawn}</figure>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def ratio_interval_of(series: Series, ratio: Ratio) -> Interval:
    """A ratio as a figure of a chart."""
    return Interval(series, ratio.p50, ratio_text(ratio), ratio_interval(ratio), ratio.low, ratio.high)


def _speed(series: Series, each: Judged) -> Interval | None:
    """The speed-up, measured or stated; None if nothing was."""
    return _stated_speed(series, each) if isinstance(each, OtherReport) else ratio_interval_of(series, each.speedup)


def _stated_speed(series: Series, other: OtherReport) -> Interval | None:
    value = other.stated_speedup
    return None if value is None else Interval(series, value, f"{value:.2f}×", STATED, stated=True)


def _ap(series: Series, engine: Judged, kind: str, value: float) -> Interval:
    estimate = engine.detail.ap.get(kind) if engine.detail else None
    return _in_points(series, value, points(value), estimate, estimate_interval(estimate))


def _change(series: Series, engine: Judged, kind: str, value: float) -> Interval:
    estimate = change_estimate(engine, kind)
    return _in_points(series, value, change_text(value), estimate, estimate_interval(estimate, signed=True))


def _in_points(series: Series, value: float, text: str, estimate: Estimate | None, bounds: str) -> Interval:
    low, high = (None, None) if estimate is None else (100 * estimate.low, 100 * estimate.high)
    return Interval(series, 100 * value, text, bounds, low, high)
