"""What engines are called on a page, and how its figures are written."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.harness.report import ComparisonReport, EngineReport, Estimate, OtherReport
from benchmarks.harness.summary import Ratio
from benchmarks.harness.tables import points
from refinemask.page.series import Series

Judged = EngineReport | OtherReport
"""What has an accuracy."""
UNKNOWN = "–"
STATED = "stated"
"""What stands below a speed that nobody measured here."""
LONGEST = 40
"""Largest number of characters of a runtime's or file's name in charts; the table of the engines has the whole."""


def engine_series(engines: Sequence[EngineReport]) -> list[Series]:
    """The engines by runtime and precision; where several have the same, with their files."""
    return _told_apart([f"{_short(each.name)} {each.precision}" for each in engines], engines, 1)


def other_series(report: ComparisonReport) -> list[tuple[Series, OtherReport]]:
    """The detectors that were not run, by name. Their numbers follow those of the engines."""
    others = report.others or ()
    names = [f"{_short(each.name)}, not run" for each in others]
    return list(zip(_told_apart(names, others, len(report.engines) + 1), others, strict=True))


def judged_series(report: ComparisonReport) -> list[tuple[Series, Judged]]:
    """The engines, and after them the detectors that were not run."""
    return [*zip(engine_series(report.engines), report.engines, strict=True), *other_series(report)]


def _told_apart(names: Sequence[str], judged: Sequence[Judged], start: int) -> list[Series]:
    """Series numbered from ``start``; where several have one name, with their files."""
    seen = Counter(names)
    return [
        Series(number, name if seen[name] == 1 else f"{name}, {_short(each.engine)}")
        for number, (name, each) in enumerate(zip(names, judged, strict=True), start)
    ]


def _short(name: str) -> str:
    """A name whose middle is left out if it is long: its end often tells files apart."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[-half:]}"


def ratio_text(ratio: Ratio) -> str:
    """A ratio as ``1.92×``."""
    return f"{ratio.p50:.2f}×"


def ratio_interval(ratio: Ratio) -> str:
    """The ends of its interval; empty if it has none."""
    return "" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"


def with_interval(text: str, interval: str) -> str:
    """A figure and its interval as plain text."""
    return f"{text} ({interval})" if interval else text


def estimate_interval(estimate: Estimate | None, *, signed: bool = False) -> str:
    """The ends of an AP's interval, or of a change's, in points of a hundred; empty if it is not known."""
    if estimate is None:
        return ""
    low, high = (_points(end, signed) for end in (estimate.low, estimate.high))
    return f"{low} to {high}"


def change_text(value: float | None) -> str:
    """A change of AP in points of a hundred; None is one that there is not."""
    return UNKNOWN if value is None else _points(value, signed=True)


def _points(value: float, signed: bool) -> str:
    return f"{100 * value:+.2f}".replace("-", "−") if signed else points(value)


def ap_of(engine: Judged, kind: str, figure: str = "AP") -> float | None:
    """A figure in 0..1; None if it was not measured or there was no object."""
    value = (engine.accuracy or {}).get(kind, {}).get(figure, -1.0)
    return value if value >= 0 else None


def change_of(engine: Judged, first: Judged, kind: str, figure: str = "AP") -> float | None:
    """A figure minus that of the first engine; None if either lacks it."""
    value, baseline = ap_of(engine, kind, figure), ap_of(first, kind, figure)
    return None if value is None or baseline is None else value - baseline


def change_estimate(engine: Judged, kind: str) -> Estimate | None:
    """The change of AP with its interval, if the report has one."""
    return engine.detail.change.get(kind) if engine.detail else None
