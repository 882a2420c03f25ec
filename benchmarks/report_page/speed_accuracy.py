"""Speed against accuracy, and the speed-ups and changes of AP by themselves."""

from benchmarks.harness.report import ComparisonReport, EngineReport, Estimate
from benchmarks.harness.summary import Ratio
from benchmarks.harness.tables import points
from benchmarks.report_page.names import (
    ap_of,
    change_estimate,
    change_of,
    change_text,
    engine_series,
    estimate_interval,
    ratio_interval,
    ratio_text,
)
from refinemask.page.intervals import Interval, intervals
from refinemask.page.scatter import Point, scatter
from refinemask.page.series import Series, key

LEAST_AP = 2.0
"""Smallest length of an axis of AP, in points of a hundred."""
KINDS = {"segm": "mask AP", "boundary": "boundary AP"}


def speed_accuracy(report: ComparisonReport) -> str:
    """Speed against mask AP and boundary AP; empty without accuracy."""
    cards = []
    for kind, name in KINDS.items():
        found = [
            Point(ratio_interval_of(series, engine.speedup), _ap(series, engine, kind, value))
            for series, engine in zip(engine_series(report.engines), report.engines, strict=True)
            if (value := ap_of(engine, kind)) is not None
        ]
        if found:
            drawn = scatter(found, f"Speed against {name}", ("speed-up, engine phase", name), least=LEAST_AP)
            cards.append(f'<figure class="card">{drawn}</figure>')
    caption = (
        '<p class="caption">Better is up and to the right. Whiskers are 95 % intervals, as far as the report has '
        "them. The numbers stand in the table of the engines.</p>"
    )
    names = key(engine_series(report.engines))
    return f'<div class="cards">{"".join(cards)}</div>{names}{caption}' if cards else ""


def speed_ups(report: ComparisonReport) -> str:
    """Speed-ups over the first engine, in the engine phase and end to end; empty for one engine."""
    pairs = list(zip(engine_series(report.engines), report.engines, strict=True))[1:]
    if not pairs:
        return ""
    unit = "times the speed of the first engine"
    cards = []
    for name, ratios in (
        ("Engine phase", [(series, engine.speedup) for series, engine in pairs]),
        ("End to end", [(series, engine.speedup_end_to_end) for series, engine in pairs]),
    ):
        figures = [ratio_interval_of(series, ratio) for series, ratio in ratios]
        drawn = intervals(figures, unit, zero=1.0, least=0.2, log=True)
        cards.append(f'<figure class="card"><h3>{name}</h3>{drawn}</figure>')
    return f'<div class="cards">{"".join(cards)}</div>'


def ap_changes(report: ComparisonReport) -> str:
    """Changes of AP against the first engine with their intervals; empty without accuracy or for one engine."""
    cards = []
    for kind, name in KINDS.items():
        figures = [
            _change(series, engine, kind, change)
            for series, engine in list(zip(engine_series(report.engines), report.engines, strict=True))[1:]
            if (change := change_of(engine, report.engines[0], kind)) is not None
        ]
        if figures:
            drawn = intervals(figures, "points of AP", zero=0.0, least=1.0)
            cards.append(f'<figure class="card"><h3>Change of {name}</h3>{drawn}</figure>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def ratio_interval_of(series: Series, ratio: Ratio) -> Interval:
    """A ratio as a figure of a chart."""
    return Interval(series, ratio.p50, ratio_text(ratio), ratio_interval(ratio), ratio.low, ratio.high)


def _ap(series: Series, engine: EngineReport, kind: str, value: float) -> Interval:
    estimate = engine.detail.ap.get(kind) if engine.detail else None
    return _in_points(series, value, points(value), estimate, estimate_interval(estimate))


def _change(series: Series, engine: EngineReport, kind: str, value: float) -> Interval:
    estimate = change_estimate(engine, kind)
    return _in_points(series, value, change_text(value), estimate, estimate_interval(estimate, signed=True))


def _in_points(series: Series, value: float, text: str, estimate: Estimate | None, bounds: str) -> Interval:
    low, high = (None, None) if estimate is None else (100 * estimate.low, 100 * estimate.high)
    return Interval(series, 100 * value, text, bounds, low, high)
