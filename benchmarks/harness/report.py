"""A measurement as JSON with everything needed to judge it, and as tables for a terminal."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness.load import BUSY_FRACTION
from benchmarks.harness.measure import EngineRun, Measurement
from benchmarks.harness.pipeline import PHASES
from benchmarks.harness.provenance import provenance
from benchmarks.harness.summary import paired_ratio, summarize
from refinemask.files import UserError, atomic_write

Report = dict[str, Any]
KINDS = {"bbox": "boxes", "segm": "masks", "boundary": "boundaries"}
LATENCY_COLUMNS = ("min", "p50", "p90", "p95", "p99")


def build_report(measurement: Measurement, accuracy: list[dict[str, Any]] | None = None) -> Report:
    """Everything as JSON values: latencies in milliseconds, memory in MiB, raw samples included.

    Args:
        accuracy: of each engine, in order; AP as fractions of one.
    """
    baseline = measurement.runs[0]
    engines = [_engine(run, baseline, measurement.settings.batch) for run in measurement.runs]
    for engine, values in zip(engines, accuracy or [], strict=bool(accuracy)):
        engine["accuracy"] = values
    return {
        "provenance": provenance(run.spec.path for run in measurement.runs),
        "settings": asdict(measurement.settings),
        "foreign_load": measurement.foreign_load,
        "batches": [[path.name for path in batch] for batch in measurement.batches],
        "rounds": [
            {"batch": each.batch, "order": each.order, "foreign_load": each.foreign_load} for each in measurement.rounds
        ],
        "engines": engines,
    }


def _engine(run: EngineRun, baseline: EngineRun, batch: int) -> Report:
    samples = {phase: [1000 * sample.seconds[phase] for sample in run.samples] for phase in PHASES}
    samples["total"] = [sum(values) for values in zip(*samples.values(), strict=True)]
    latency = {phase: summarize(values) for phase, values in samples.items()}
    counts = [count for sample in run.samples for count in sample.detections]
    return {
        "engine": str(run.spec),
        "name": run.name,
        "precision": run.precision,
        "fps": 1000 * batch / latency["engine"].p50,
        "fps_end_to_end": 1000 * batch / latency["total"].p50,
        "speedup": asdict(paired_ratio(_network_seconds(baseline), _network_seconds(run))),
        "speedup_end_to_end": asdict(paired_ratio(_total_seconds(baseline), _total_seconds(run))),
        "detections_per_image": {"mean": sum(counts) / len(counts), "min": min(counts), "max": max(counts)},
        "padded_sizes": dict(Counter("{}x{}".format(*sample.padded) for sample in run.samples)),
        "peak_memory_mib": run.peak_memory_bytes and run.peak_memory_bytes / 2**20,
        "device_memory_mib": run.device_memory_bytes and run.device_memory_bytes / 2**20,
        "latency_ms": {phase: asdict(summary) for phase, summary in latency.items()},
        "samples_ms": {phase: [round(value, 4) for value in values] for phase, values in samples.items()},
    }


def _network_seconds(run: EngineRun) -> list[float]:
    return [sample.seconds["engine"] for sample in run.samples]


def _total_seconds(run: EngineRun) -> list[float]:
    return [sum(sample.seconds.values()) for sample in run.samples]


def write_report(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the report as JSON, atomically."""
    text = json.dumps(report, indent=1)
    # Lists of numbers or names on one line each: a thousand samples are not a thousand lines.
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n")


def run_and_print(
    measure: Callable[[], Report], tables: Callable[[Report], Iterable[Table]], output: str | os.PathLike[str] | None
) -> int:
    """What a benchmark's command does: measure, write the JSON, print the tables, warn of a disturbed measurement.

    Returns:
        0; 2 where something given is wrong.
    """
    try:
        report = measure()
        if output is not None:
            write_report(report, output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for table in tables(report):
        terminal().print(table)
    warn_if_busy(report["foreign_load"])
    return 0


def terminal() -> Console:
    """Standard output; without a terminal wide enough that no table breaks."""
    return Console(width=None if sys.stdout.isatty() else 150)


def print_accuracy(report: Report, console: Console | None = None) -> None:
    """Print all average precisions of every engine."""
    table = Table(title="Average precision")
    for heading in ("engine", "precision", "of"):
        table.add_column(heading)
    metrics = report["engines"][0]["accuracy"]["segm"]
    for heading in metrics:
        table.add_column(heading, justify="right")
    for engine in report["engines"]:
        for kind, name in KINDS.items():
            cells = [points(engine["accuracy"][kind][metric]) for metric in metrics]
            table.add_row(engine["name"], engine["precision"], name, *cells, end_section=kind == list(KINDS)[-1])
    (console or terminal()).print(table)


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the comparison, the latency of each phase and the conditions; warn of a disturbed measurement."""
    console = console or terminal()
    console.print(_comparison(report))
    for table in _latencies(report):
        console.print(table)
    console.print(conditions(report), soft_wrap=True)
    warn_if_busy(report["foreign_load"])


def warn_if_busy(load: float | None) -> None:
    """Say on standard error if other processes' share of the CPUs has spoilt the latencies."""
    if load is not None and load > BUSY_FRACTION:
        print(
            f"warning: other processes used {load:.0%} of the CPUs meanwhile: do not trust these latencies, "
            "measure again on a quiet machine",
            file=sys.stderr,
        )


def _comparison(report: Report) -> Table:
    table = Table(title="Engines (speed-up: engine phase, median of ratios paired per round)")
    for heading in ("engine", "precision"):
        table.add_column(heading)
    accurate = all("accuracy" in engine for engine in report["engines"])
    accuracy_columns = ("AP", "ΔAP", "boundary AP", "Δ boundary AP") if accurate else ()
    for heading in ("FPS", "speed-up", "FPS end to end", *accuracy_columns, "detections/image", "peak MiB"):
        table.add_column(heading, justify="right")
    baseline = report["engines"][0]
    for engine in report["engines"]:
        memory = engine["peak_memory_mib"]
        table.add_row(
            engine["name"],
            engine["precision"],
            f"{engine['fps']:.2f}",
            f"{engine['speedup']['p50']:.2f}×",
            f"{engine['fps_end_to_end']:.2f}",
            *(_accuracy_cells(engine, baseline) if accurate else ()),
            f"{engine['detections_per_image']['mean']:.1f}",
            "unknown" if memory is None else f"{memory:.0f}",
        )
    return table


def _accuracy_cells(engine: Report, baseline: Report) -> list[str]:
    cells = []
    for kind in ("segm", "boundary"):
        value, reference = (each["accuracy"][kind]["AP"] for each in (engine, baseline))
        cells += [points(value), "" if engine is baseline else f"{100 * (value - reference):+.2f}"]
    return cells


def points(value: float) -> str:
    """An average precision in points of a hundred; -1 means that there was no object to find."""
    return f"{100 * value:.2f}" if value >= 0 else "none"


def _latencies(report: Report) -> list[Table]:
    batch = report["settings"]["batch"]
    phases = Table(title=f"Median latency in ms of each phase, batch {batch}")
    spread = Table(title=f"Latency in ms of the engine phase, batch {batch}")
    for table, headings in ((phases, (*PHASES, "total")), (spread, (*LATENCY_COLUMNS, "n"))):
        table.add_column("engine")
        for heading in headings:
            table.add_column(heading, justify="right")
    for engine in report["engines"]:
        name, latency = f"{engine['name']} {engine['precision']}", engine["latency_ms"]
        phases.add_row(name, *(f"{latency[phase]['p50']:.2f}" for phase in (*PHASES, "total")))
        columns = (f"{latency['engine'][column]:.2f}" for column in LATENCY_COLUMNS)
        spread.add_row(name, *columns, str(latency["engine"]["n"]))
    return [phases, spread]


def conditions(report: Report) -> str:
    """The machine, the settings, the sizes and the revision, in three lines."""
    settings, source = report["settings"], report["provenance"]
    sizes = ", ".join(f"{size} ({count})" for size, count in report["engines"][0]["padded_sizes"].items())
    load = "unknown" if report["foreign_load"] is None else f"{report['foreign_load']:.1%}"
    return (
        f"{source['cpu']['model']}, {source['cpu']['cores']} cores, {settings['threads']} threads, "
        f"device {settings['device']}, batch {settings['batch']}, foreign load {load}\n"
        f"padded sizes (batches): {sizes}\n"
        f"revision {source['revision']}, {source['date']}"
    )
