"""The first things to see: the fastest engine, and what its speed costs in accuracy."""

from html import escape

from benchmarks.harness.load import BUSY_FRACTION
from benchmarks.harness.report import ComparisonReport, EngineReport
from benchmarks.report_page.names import (
    change_estimate,
    change_of,
    change_text,
    engine_series,
    estimate_interval,
    ratio_interval,
    ratio_text,
    with_interval,
)
from refinemask.page.tiles import Tile, tiles


def verdict(report: ComparisonReport) -> str:
    """A sentence and tiles. Of detectors that were not run there is no speed, so none is the fastest."""
    engines, series = report.engines, engine_series(report.engines)
    place = max(range(len(engines)), key=lambda number: engines[number].speedup.p50)
    fastest, first = engines[place], engines[0]
    shown = [Tile(series[place].name, "fastest engine", words=True)]
    if place:
        bounds = _bounds(ratio_interval(fastest.speedup))
        shown.append(Tile(ratio_text(fastest.speedup), f"speed-up over {series[0].name}", bounds))
        shown += [
            Tile(change_text(change), name, _bounds(estimate_interval(change_estimate(fastest, kind), signed=True)))
            for kind, name in (("segm", "ΔAP of masks"), ("boundary", "Δ boundary AP"))
            if (change := change_of(fastest, first, kind)) is not None
        ]
    end_to_end = f"{fastest.fps_end_to_end:.2f} end to end"
    shown.append(Tile(f"{fastest.fps:.2f}", "images per second, engine phase", end_to_end))
    shown.append(Tile(f"{report.images:,}", "images", f"in {len(report.rounds):,} rounds"))
    kind, sentence = _sentence(report, place, [each.name for each in series])
    return f'<p class="verdict {kind}">{escape(sentence)}</p>{tiles(shown)}'


def _bounds(interval: str) -> str:
    return f"95 %: {interval}" if interval else "no interval"


def _sentence(report: ComparisonReport, place: int, names: list[str]) -> tuple[str, str]:
    """The verdict and its kind."""
    if report.foreign_load is not None and report.foreign_load > BUSY_FRACTION:
        return "failed", f"Other programs used {report.foreign_load:.0%} of the CPUs: do not trust these latencies."
    if len(names) == 1:
        return "neutral", f"{names[0]} was measured by itself: there is nothing to compare it with."
    if not place:
        return "neutral", f"No engine is faster than the first, {names[0]}."
    fastest, first = report.engines[place], report.engines[0]
    faster = with_interval(ratio_text(fastest.speedup), ratio_interval(fastest.speedup))
    kind, changed = _changed(fastest, first)
    return kind, f"{names[place]} is the fastest: {faster} the speed of {names[0]}{changed}."


def _changed(fastest: EngineReport, first: EngineReport) -> tuple[str, str]:
    change, estimate = change_of(fastest, first, "segm"), change_estimate(fastest, "segm")
    if change is None:
        return "neutral", ""
    told = with_interval(change_text(change), estimate_interval(estimate, signed=True))
    text = f", and mask AP changes by {told}"
    if estimate is None:
        return "neutral", text
    if estimate.high < 0:
        return "doubted", f"{text}: worse by more than chance"
    if estimate.low > 0:
        return "passed", f"{text}: better by more than chance"
    return "passed", f"{text}: no more than chance"
