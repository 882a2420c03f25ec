"""The table of engines: the columns of the terminal's, and their intervals."""

from benchmarks.harness.report import Accuracy, ComparisonReport, EngineReport, OtherReport
from benchmarks.harness.tables import points
from benchmarks.report_page.names import (
    STATED,
    UNKNOWN,
    Judged,
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
from refinemask.page.series import Series, breakable
from refinemask.page.tables import details, table

KINDS = {"segm": "AP", "boundary": "boundary AP"}
OVERLAPS = {"bbox": "boxes", "segm": "masks", "boundary": "boundaries"}


def engine_table(report: ComparisonReport) -> str:
    """The engines side by side, below them the detectors that were not run, and all figures of accuracy on demand."""
    engines = report.engines
    optional = {
        "GPU MiB": any(engine.device_memory_mib is not None for engine in engines),
        "J per image": any(engine.joules_per_image is not None for engine in engines),
    }
    shown = [heading for heading, known in optional.items() if known]
    judged = any(engine.accuracy for engine in engines)
    accuracy = [heading for name in KINDS.values() for heading in (name, f"Δ {name}")] if judged else []
    headings = ["engine", "FPS", "speed-up", "FPS end to end", *accuracy, "detections per image", "peak MiB", *shown]
    rows = [
        [
            _name(series, engine),
            *_speeds(engine, engines[0]),
            *(_accuracy(engine, engines[0]) if judged else ()),
            f"{engine.detections_per_image.mean:.1f}",
            *_costs(engine, shown),
        ]
        for series, engine in zip(engine_series(engines), engines, strict=True)
    ]
    rows += [
        [
            _name(series, other),
            *_stated_speeds(other),
            *(_accuracy(other, engines[0]) if judged else ()),
            f"{other.detections_per_image.mean:.1f}",
            *[""] * (1 + len(shown)),
        ]
        for series, other in other_series(report)
    ]
    html = table(headings, rows)
    if judged:
        html += details("All figures of accuracy", _all_figures(report))
    return f'<div class="card">{html}</div>'


def _name(series: Series, judged: Judged) -> str:
    file = "" if judged.engine in series.name else f"<small>{breakable(judged.engine)}</small>"
    return f'<span class="series">{series.badge}<span>{breakable(series.name)}{file}</span></span>'


def _speeds(engine: EngineReport, first: EngineReport) -> list[str]:
    ratio = _figure(ratio_text(engine.speedup), "" if engine is first else ratio_interval(engine.speedup))
    return [f"{engine.fps:.2f}", ratio, f"{engine.fps_end_to_end:.2f}"]


def _stated_speeds(other: OtherReport) -> list[str]:
    stated = [
        "" if value is None else _figure(form.format(value), STATED)
        for form, value in (("{:.2f}", other.stated_fps), ("{:.2f}×", other.stated_speedup))
    ]
    return [*stated, ""]


def _costs(engine: EngineReport, shown: list[str]) -> list[str]:
    """Memory, and what else is known of some engine."""
    joules = engine.joules_per_image
    costs = {
        "GPU MiB": _mib(engine.device_memory_mib),
        "J per image": "unknown" if joules is None else f"{joules:.3g}",
    }
    return [_mib(engine.peak_memory_mib), *(costs[heading] for heading in shown)]


def _figure(text: str, interval: str) -> str:
    return f"{text}<small>{interval}</small>" if interval else text


def _accuracy(engine: Judged, first: EngineReport) -> list[str]:
    cells = []
    for kind in KINDS:
        figures = (engine.accuracy or {}).get(kind)
        estimate = engine.detail.ap.get(kind) if engine.detail else None
        cells.append(_figure(points(figures["AP"]), estimate_interval(estimate)) if figures else UNKNOWN)
        change = change_text(change_of(engine, first, kind))
        cells.append(
            "" if engine is first else _figure(change, estimate_interval(change_estimate(engine, kind), signed=True))
        )
    return cells


def _mib(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _all_figures(report: ComparisonReport) -> str:
    judged: list[tuple[Series, Accuracy]] = [
        (series, each.accuracy) for series, each in judged_series(report) if each.accuracy
    ]
    kinds = list(dict.fromkeys(kind for _, accuracy in judged for kind in accuracy))
    html = []
    for kind in kinds:
        figures = list(dict.fromkeys(name for _, accuracy in judged for name in accuracy.get(kind, {})))
        rows = [
            [each.html, *(points(accuracy.get(kind, {}).get(name, -1.0)) for name in figures)]
            for each, accuracy in judged
        ]
        html.append(table([OVERLAPS.get(kind, "AP*"), *figures], rows))
    return "".join(html)
