"""Reports as tables for a terminal: engines side by side, their average precision, and the conditions."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from benchmarks.harness.device_state import describe, disturbance
from benchmarks.harness.load import BUSY_FRACTION
from benchmarks.harness.pipeline import PHASES
from benchmarks.harness.report import ComparisonReport, EngineReport, Estimate, OtherReport
from benchmarks.harness.summary import Ratio
from benchmarks.harness.terminal import terminal

NOT_RUN = "not run"
"""What stands in place of the precision of a detector whose results were given."""
KINDS = {"bbox": "boxes", "segm": "masks", "boundary": "boundaries"}
NO_FIGURE = {"AP": -1.0}
LATENCY_COLUMNS = ("min", "p50", "p90", "p95", "p99")


def print_tables(tables: Iterable[Table], foreign_load: float | None) -> None:
    """Print a benchmark's tables; warn of a disturbed measurement."""
    for table in tables:
        terminal().print(table)
    warn_if_busy(foreign_load)


def print_accuracy(report: ComparisonReport, console: Console | None = None) -> None:
    """Print all average precisions of the engines in a report that has them."""
    judged = [(e.name, e.precision, e.accuracy) for e in report.engines if e.accuracy is not None]
    judged += [(other.name, NOT_RUN, other.accuracy) for other in report.others or ()]
    table = Table(title=f"Average precision, {_images(report)}")
    for heading in ("engine", "precision", "of"):
        table.add_column(heading)
    metrics = list(judged[0][2]["segm"])
    for heading in metrics:
        table.add_column(heading, justify="right")
    for engine, precision, accuracy in judged:
        for kind in (known := [kind for kind in KINDS if kind in accuracy]):
            cells = [points(accuracy[kind][metric]) for metric in metrics]
            table.add_row(engine, precision, KINDS[kind], *cells, end_section=kind == known[-1])
    (console or terminal()).print(table)


def print_comparison(report: ComparisonReport, console: Console | None = None) -> None:
    """Print the comparison, the latency of each phase and the conditions; warn of a disturbed measurement."""
    console = console or terminal()
    console.print(_comparison(report))
    for table in _latencies(report):
        console.print(table)
    console.print(conditions(report), soft_wrap=True)
    warn_if_busy(report.foreign_load)
    if slowed := disturbance([each.state for each in report.rounds if each.state]):
        print(f"warning: the GPU {slowed}: do not trust these latencies", file=sys.stderr)


def warn_if_busy(load: float | None) -> None:
    """Say on standard error if other processes' share of the CPUs has spoilt the latencies."""
    if load is not None and load > BUSY_FRACTION:
        print(
            f"warning: other processes used {load:.0%} of the CPUs meanwhile: do not trust these latencies, "
            "measure again on a quiet machine",
            file=sys.stderr,
        )


def _comparison(report: ComparisonReport) -> Table:
    table = Table(title=f"Engines, {_images(report)} (speed-up: engine phase, median of ratios paired per round)")
    table.add_column("engine")
    reference = report.engines[0].accuracy
    accuracy_columns = () if reference is None else ("AP", "ΔAP", "boundary\nAP", "Δ boundary\nAP")
    for heading in ("FPS", "speed-up", "FPS end\nto end", *accuracy_columns, "detections\n/image", "peak\nMiB"):
        table.add_column(heading, justify="right")
    for engine in report.engines:
        table.add_row(
            f"{engine.name} {engine.precision}",
            f"{engine.fps:.2f}",
            f"{engine.speedup.p50:.2f}×" + ("" if engine is report.engines[0] else _between(engine.speedup, "{:.2f}")),
            f"{engine.fps_end_to_end:.2f}",
            *_accuracy_cells(engine, report.engines[0]),
            f"{engine.detections_per_image.mean:.1f}",
            "unknown" if engine.peak_memory_mib is None else f"{engine.peak_memory_mib:.0f}",
        )
    for other in report.others or ():
        table.add_row(
            f"{other.name}\n{NOT_RUN}",
            "" if other.stated_fps is None else f"{other.stated_fps:.2f} stated",
            "" if other.stated_speedup is None else f"{other.stated_speedup:.2f}× stated",
            "",
            *_accuracy_cells(other, report.engines[0]),
            f"{other.detections_per_image.mean:.1f}",
            "",
        )
    return table


def _accuracy_cells(engine: EngineReport | OtherReport, first: EngineReport) -> list[str]:
    cells: list[str] = []
    if engine.accuracy is None or first.accuracy is None:
        return cells
    for kind in ("segm", "boundary"):
        # Boxes alone have no other figures.
        value, baseline = engine.accuracy.get(kind, NO_FIGURE)["AP"], first.accuracy[kind]["AP"]
        difference = f"{100 * (value - baseline):+.2f}" if min(value, baseline) >= 0 else "–"
        change = engine.detail.change.get(kind) if engine.detail else None
        cells += [points(value), "" if engine is first else difference + _between(change, "{:+.2f}", 100)]
    return cells


def _between(interval: Estimate | Ratio | None, form: str, scale: float = 1) -> str:
    """The ends of a 95 % interval in a line of their own; nothing if there is none."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"\n{form.format(scale * interval.low)}…{form.format(scale * interval.high)}"


def points(value: float, digits: int = 2) -> str:
    """An average precision in points of a hundred; -1 means that there was no object to find."""
    return f"{100 * value:.{digits}f}" if value >= 0 else "–"


def _images(report: ComparisonReport) -> str:
    skipped = f", {len(report.skipped)} skipped and not counted" if report.skipped else ""
    return f"{report.images} images{skipped}"


def _latencies(report: ComparisonReport) -> list[Table]:
    batch = report.settings.batch
    phases = Table(title=f"Median latency in ms of each phase, batch {batch}")
    spread = Table(title=f"Latency in ms of the engine phase, batch {batch}")
    for table, headings in ((phases, (*PHASES, "total")), (spread, (*LATENCY_COLUMNS, "n"))):
        table.add_column("engine")
        for heading in headings:
            table.add_column(heading, justify="right")
    for engine in report.engines:
        name, latency = f"{engine.name} {engine.precision}", engine.latency_ms
        phases.add_row(name, *(f"{latency[phase].p50:.2f}" for phase in (*PHASES, "total")))
        columns = (f"{getattr(latency['engine'], column):.2f}" for column in LATENCY_COLUMNS)
        spread.add_row(name, *columns, str(latency["engine"].n))
    return [phases, spread]


def conditions(report: ComparisonReport) -> str:
    """The machine, the settings, the sizes, the revision, and what is known of the GPU and of energy, a line each."""
    settings, source = report.settings, report.provenance
    sizes = ", ".join(f"{size} ({count})" for size, count in report.engines[0].padded_sizes.items())
    load = "unknown" if report.foreign_load is None else f"{report.foreign_load:.1%}"
    energy = ", ".join(
        f"{engine.name} {engine.precision} {engine.joules_per_image:.3g} J (of {engine.joules:.3g} J in all)"
        for engine in report.engines
        if engine.joules_per_image is not None
    )
    further = describe([each.state for each in report.rounds if each.state]), energy and f"energy per image: {energy}"
    return (
        f"{source.cpu.model}, {source.cpu.cores} cores, {settings.threads} threads, "
        f"device {settings.device}, batch {settings.batch}, foreign load {load}\n"
        f"padded sizes (batches): {sizes}\n"
        f"revision {source.revision}, {source.date}" + "".join(f"\n{line}" for line in further if line)
    )
