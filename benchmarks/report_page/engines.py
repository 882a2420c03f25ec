"""The table of engines: the columns of the terminal's, and their intervals."""

from benchmarks.harness.report import Accuracy, ComparisonReport, EngineReport
from benchmarks.harness.tables import points
from benchmarks.report_page.names import (
    UNKNOWN,
    change_estimate,
    change_of,
    change_text,
    engine_series,
    estimate_interval,
    ratio_interval,
    ratio_text,
)
from refinemask.page.series import Series, breakable
from refinemask.page.tables import details, table

KINDS = {"segm": "AP", "boundary": "boundary AP"}
OVERLAPS = {"bbox": "boxes", "segm": "masks", "boundary": "boundaries"}


def engine_table(report: ComparisonReport) -> str:
    """The engines side by side, and all figures of accuracy on demand."""
    series, first = engine_series(report.engines), report.engines[0]
    judged = any(engine.accuracy for engine in report.engines)
    on_gpu = any(engine.device_memory_mib is not None for engine in report.engines)
    headings = ["engine", "FPS", "speed-up", "FPS end to end"]
    if judged:
        headings += [heading for name in KINDS.values() for heading in (name, f"Δ {name}")]
    headings += ["detections per image", "peak MiB", *(["GPU MiB"] if on_gpu else [])]
    rows = [
        [
            _name(each, engine),
            f"{engine.fps:.2f}",
            _figure(ratio_text(engine.speedup), "" if engine is first else ratio_interval(engine.speedup)),
            f"{engine.fps_end_to_end:.2f}",
            *(_accuracy(engine, first) if judged else ()),
            f"{engine.detections_per_image.mean:.1f}",
            _mib(engine.peak_memory_mib),
            *([_mib(engine.device_memory_mib)] if on_gpu else []),
        ]
        for each, engine in zip(series, report.engines, strict=True)
    ]
    html = table(headings, rows)
    if judged:
        html += details("All figures of accuracy", _all_figures(report, series))
    return f'<div class="card">{html}</div>'


def _name(series: Series, engine: EngineReport) -> str:
    file = "" if engine.engine in series.name else f"<small>{breakable(engine.engine)}</small>"
    return f'<span class="series">{series.badge}<span>{breakable(series.name)}{file}</span></span>'


def _figure(text: str, interval: str) -> str:
    return f"{text}<small>{interval}</small>" if interval else text


def _accuracy(engine: EngineReport, first: EngineReport) -> list[str]:
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


def _all_figures(report: ComparisonReport, series: list[Series]) -> str:
    judged: list[tuple[Series, Accuracy]] = [
        (each, engine.accuracy) for each, engine in zip(series, report.engines, strict=True) if engine.accuracy
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
