"""Engines side by side in speed and accuracy, both of the same files in the same run.

python -m benchmarks.compare model.safetensors model.onnx --annotations val.json --images DIRECTORY
python -m benchmarks.compare --table efficiency
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from benchmarks.efficiency.figure import draw
from benchmarks.efficiency.run import Plan, measure_efficiency
from benchmarks.efficiency.table import print_efficiency
from benchmarks.harness.comparison import compare
from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.tables import print_comparison
from refinemask.command import execute
from refinemask.data.coco import read_coco


@dataclass(frozen=True, kw_only=True)
class Args:
    """Compare engines in latency, AP and boundary AP on an annotated data set.

    With --table efficiency, instead: the four models of the paper's efficiency table on every engine of this machine.
    Its own options are shown by --table efficiency --help.
    """

    engines: tyro.conf.Positional[tuple[str, ...]]
    """PATH[@BACKEND[:PRECISION]] each; the first is the baseline."""
    annotations: Path
    """COCO annotations."""
    images: Path
    """Directory of the annotated images."""
    limit: int | None = None
    """Only the first so many images."""
    output: Path | None = None
    """JSON file for the report with all samples."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def main(args: Args | Plan | None = None) -> int:
    """Compare, write the JSON, print the tables; returns the exit code."""
    if args is None:
        table, rest = _chosen_table()
        if table == "efficiency":
            args = tyro.cli(Plan, args=rest, prog="python -m benchmarks.compare --table efficiency")
    if isinstance(args, Plan):
        return execute(Plan, _efficiency, args)
    return execute(Args, _compare, args)


def _compare(args: Args) -> None:
    report = compare(args.engines, read_coco(args.annotations), args.images, args.settings, args.limit)
    write_report(report, args.output)
    print_comparison(report)


def _efficiency(plan: Plan) -> None:
    report = measure_efficiency(plan)
    print_efficiency(report)
    for path in draw(report, plan.output):
        print(f"figure: {path}")
    print(f"report with all samples: {plan.output}")


def _chosen_table() -> tuple[str | None, list[str]]:
    """The table that the command line asks for, and the other arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", add_help=False, allow_abbrev=False)
    parser.add_argument("--table", choices=["efficiency"])
    chosen, rest = parser.parse_known_args()
    return chosen.table, rest


if __name__ == "__main__":
    raise SystemExit(main())
