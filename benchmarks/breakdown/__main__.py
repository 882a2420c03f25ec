"""Where a detector's time goes: milliseconds of each part beside its GFLOPs, on every engine.

python -m benchmarks.breakdown model.safetensors model.onnx model.onnx@openvino:fp32 model.onnx@openvino:bf16
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import tyro
from rich.table import Table

from benchmarks.breakdown.operator_times import Breakdown, Inputs, break_down
from benchmarks.breakdown.parts import PARTS
from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.measure import require_at_least
from benchmarks.harness.pipeline import read_input
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report import Report, run_and_print
from benchmarks.harness.spec import EngineSpec
from refinemask.bundled import PHOTO


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time every operator of one or more engines on one photograph and add the times up by part of the detector."""

    engines: tyro.conf.Positional[tuple[str, ...]]
    """PATH[@BACKEND[:PRECISION]] each: checkpoints, or exported files of one size."""
    image: Path = PHOTO
    canvas: tuple[int, int] = (800, 1344)
    """Padded height and width, which exported files must have."""
    threads: int = 2
    warmup: int = 1
    rounds: int = 5
    output: Path | None = None
    """JSON file for the result."""


def measure(args: Args) -> Report:
    """Break down one engine after the other.

    Raises:
        UserError: an engine, the image or a setting is wrong.
    """
    require_at_least(1, threads=args.threads, rounds=args.rounds)
    require_at_least(0, warmup=args.warmup)
    batch = read_input(args.image, args.canvas)
    inputs: Inputs = {"images": batch.images, "image_sizes": batch.image_sizes}
    specs = [EngineSpec.parse(text) for text in args.engines]
    load = ForeignLoad([os.getpid()])
    results = [break_down(spec, inputs, threads=args.threads, warmup=args.warmup, rounds=args.rounds) for spec in specs]
    return {
        "provenance": provenance(spec.path for spec in specs),
        "settings": {key: value for key, value in asdict(args).items() if key not in ("engines", "image", "output")},
        "image": args.image.name,
        "foreign_load": load.fraction(),
        "engines": [{"engine": str(spec), **_summary(each)} for spec, each in zip(specs, results, strict=True)],
    }


def _summary(result: Breakdown) -> Report:
    """Medians over the runs; ``between_ms`` is what a run takes beside its operators: the runtime and the recording."""
    seconds = {part: median(run[part] for run in result.seconds) for part in result.seconds[0]}
    total = median(sum(run.values()) for run in result.seconds)
    return {
        "name": result.name,
        "precision": result.precision,
        "parts": {part: _row(spent, total, result.gflop.get(part, 0)) for part, spent in seconds.items()},
        "all": _row(total, total, sum(result.gflop.values())),
        "between_ms": round(1e3 * (median(result.wall) - total), 2),
    }


def _row(seconds: float, total: float, gflop: float) -> dict[str, float]:
    return {
        "ms": round(1e3 * seconds, 3),
        "share": round(seconds / total, 4),
        "gflop": round(gflop, 3),
        "gflop_per_s": round(gflop / seconds, 1) if seconds else 0.0,
    }


def table(report: Report) -> Table:
    """Parts down, engines across; eager PyTorch may count less than a graph, which computes padding too."""
    engines = report["engines"]
    table = Table(title="Median milliseconds of each part, its share, and the GFLOP/s it reaches")
    table.add_column("part")
    table.add_column("GFLOP", justify="right")
    for engine in engines:
        name = engine["name"].replace(" ", "\n")
        for heading in (f"{name}\n{engine['precision']} ms", "%", "GFLOP/s"):
            table.add_column(heading, justify="right")
    for part in PARTS:
        rows = [engine["parts"].get(part) for engine in engines]
        if any(rows):
            table.add_row(part, *_cells(rows))
    table.add_section()
    table.add_row("all", *_cells([engine["all"] for engine in engines]))
    return table


def _cells(rows: list[dict[str, float] | None]) -> list[str]:
    cells = [_number(max(row["gflop"] for row in rows if row))]
    for row in rows:
        figures = (row["ms"], 100 * row["share"], row["gflop_per_s"]) if row else (0, 0, 0)
        cells += map(_number, figures)
    return cells


def _number(value: float) -> str:
    return f"{value:.1f}" if value else ""


def main(args: Args | None = None) -> int:
    """Measure, print the table, write the JSON; exit code 2 where something given is wrong."""
    args = args or tyro.cli(Args, description=__doc__)
    return run_and_print(lambda: measure(args), lambda report: [table(report)], args.output)


if __name__ == "__main__":
    raise SystemExit(main())
