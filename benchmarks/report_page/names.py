"""What engines are called on a page, and how its figures are written."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.harness.report import EngineReport, Estimate
from benchmarks.harness.summary import Ratio
from benchmarks.harness.tables import points
from refinemask.page.series import Series

UNKNOWN = "–"
LONGEST = 40
"""Largest number of characters of a runtime's or file's name in charts; the table of the engines has the whole."""


def engine_series(engines: Sequence[EngineReport]) -> list[Series]:
    """The engines by runtime and precision; where several have the same, with their files."""
    names = [f"{_short(engine.name)} {engine.precision}" for engine in engines]
    seen = Counter(names)
    return [
        Series(number, name if seen[name] == 1 else f"{name}, {_short(engine.engine)}")
        for number, (name, engine) in enumerate(zip(names, engines, strict=True), 1)
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


def ap_of(engine: EngineReport, kind: str, figure: str = "AP") -> float | None:
    """A figure in 0..1; None if it was not measured or there was no object."""
    value = (engine.accuracy or {}).get(kind, {}).get(figure, -1.0)
    return value if value >= 0 else None


def change_of(engine: EngineReport, first: EngineReport, kind: str, figure: str = "AP") -> float | None:
    """A figure minus that of the first engine; None if either lacks it."""
    value, baseline = ap_of(engine, kind, figure), ap_of(first, kind, figure)
    return None if value is None or baseline is None else value - baseline


def change_estimate(engine: EngineReport, kind: str) -> Estimate | None:
    """The change of AP with its interval, if the report has one."""
    return engine.detail.change.get(kind) if engine.detail else None
