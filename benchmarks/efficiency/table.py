"""The efficiency report as tables for a terminal: what the models are, and what the engines make of them."""

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from benchmarks.efficiency.report import EfficiencyReport
from benchmarks.harness.report import EngineReport
from benchmarks.harness.tables import conditions, points, warn_if_busy
from benchmarks.harness.terminal import terminal

ACCURACY = {"AP": "segm", "AP*": "ap_star", "boundary AP": "boundary"}
"""Entries of an engine's accuracy, by heading in the table."""


def print_efficiency(report: EfficiencyReport, console: Console | None = None) -> None:
    """Print both tables and the conditions; every × is the ratio to Mask R-CNN on the same engine."""
    console = console or terminal()
    console.print(_models(report))
    if report.backends:
        console.print(_engines(report))
        loads = [backend.foreign_load for backend in report.backends if backend.foreign_load is not None]
        busiest = max(loads, default=None)
        console.print(conditions(replace(report.backends[-1], foreign_load=busiest)), soft_wrap=True)
        warn_if_busy(busiest)


def _models(report: EfficiencyReport) -> Table:
    assert report.inputs.settings.canvas is not None
    height, width = report.inputs.settings.canvas
    table = Table(title=f"Models (GFLOPs at {height}×{width}; published figures: {report.published_at})")
    table.add_column("model")
    for heading in ("parameters M", "×", "GFLOPs", "×", "published FPS", "×", "published AP", "published AP*"):
        table.add_column(heading, justify="right")
    first = report.models[0]
    for model in report.models:
        table.add_row(
            model.name,
            *_with_ratio(model.parameters / 1e6, first.parameters / 1e6, "{:.1f}"),
            *_with_ratio(model.gflops, first.gflops, "{:.0f}"),
            *_with_ratio(model.published.fps, first.published.fps, "{:.1f}"),
            f"{model.published.ap:.1f}",
            f"{model.published.ap_star:.1f}",
        )
    return table


def _engines(report: EfficiencyReport) -> Table:
    skipped = len(report.backends[0].skipped or ())
    table = Table(
        title=f"Engines ({report.inputs.weights} weights; ratios of FPS are medians of those of each round)"
        + (f"; {skipped} images skipped and not counted" if skipped else "")
    )
    for heading in ("engine", "model"):
        table.add_column(heading)
    measured = report.backends[0].engines[0].accuracy or {}
    accuracy = [name for name, kind in ACCURACY.items() if kind in measured]
    on_cpu = report.inputs.settings.device == "cpu"
    for heading in ("FPS", "×", "end to end", "×", "peak MiB" if on_cpu else "GPU MiB", "×", *accuracy, "detections"):
        table.add_column(heading, justify="right")
    for backend in report.backends:
        first = backend.engines[0]
        for model, engine in zip(report.models, backend.engines, strict=True):
            judged = engine.accuracy or {}
            table.add_row(
                f"{engine.name} {engine.precision}" if engine is first else "",
                model.name,
                f"{engine.fps:.3g}",
                f"{engine.speedup.p50:.2f}",
                f"{engine.fps_end_to_end:.3g}",
                f"{engine.speedup_end_to_end.p50:.2f}",
                *_memory_cells(engine, first, on_cpu),
                *(points(judged[ACCURACY[name]]["AP"]) for name in accuracy),
                f"{engine.detections_per_image.mean:.1f}",
                end_section=engine is backend.engines[-1],
            )
    return table


def _memory_cells(engine: EngineReport, first: EngineReport, on_cpu: bool) -> tuple[str, str]:
    memory, baseline = (each.peak_memory_mib if on_cpu else each.device_memory_mib for each in (engine, first))
    return ("unknown", "") if memory is None or baseline is None else _with_ratio(memory, baseline, "{:.0f}")


def _with_ratio(value: float, baseline: float, form: str) -> tuple[str, str]:
    return form.format(value), f"{value / baseline:.2f}"
