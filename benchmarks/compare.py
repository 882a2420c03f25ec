"""Engines side by side in speed and accuracy, both measured on the same files in the same run.

python -m benchmarks.compare model.safetensors model.onnx --annotations val.json --images DIRECTORY
python -m benchmarks.compare --table efficiency
"""

import argparse
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import tyro

from benchmarks.efficiency.figure import draw
from benchmarks.efficiency.run import Plan, measure_efficiency
from benchmarks.efficiency.table import print_efficiency
from benchmarks.harness.comparison import compare
from benchmarks.harness.report_file import write_report
from benchmarks.harness.requirement import Requirements, exit_code, judge, parse_requirements
from benchmarks.harness.settings import OLD, Settings
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.tables import print_comparison
from benchmarks.report_page.differences import look_for_differences
from benchmarks.report_page.write import Extra, write_page
from refinemask.command import execute
from refinemask.data.coco import read_coco
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.exit_codes import command_line, program_name
from refinemask.spelling import Engines, OptionalNumber, OptionalOutput, OptionalPath


@dataclass(frozen=True, kw_only=True)
class Args:
    """Compare engines in latency, AP and boundary AP on an annotated data set.

    With --table efficiency, instead: the four models of the paper's efficiency table on every engine of this machine.
    Its own options are shown by --table efficiency --help.
    """

    engines: Engines
    """Engines, PATH[@BACKEND[:PRECISION]] each; the first is the baseline. The others may also be results of a detector
    that is not run, RESULTS.json[@NAME[:MILLISECONDS]], and weights of torchvision's Mask R-CNN, PATH@torchvision."""
    annotations: Path
    """COCO annotations."""
    images: Path
    """Directory of the annotated images."""
    limit: OptionalNumber = None
    """Number of the first images to use; all if not given."""
    output: OptionalOutput = None
    """JSON file for the report with all samples."""
    report: OptionalPath = None
    """Page of HTML to look at, in one file: tables, charts with their intervals, the masks that differ most,
    and where the numbers come from."""
    resamples: int = RESAMPLES
    """Bootstrap resamples of the images for the intervals of AP; 0 leaves the intervals out."""
    require: Requirements = ()
    """What must hold, such as 'ΔAP >= -0.2' or 'speedup[openvino:bf16] >= 1.5', by the worse end of the interval;
    otherwise the exit code is 3. It may be given several times."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def main(args: Args | Plan | None = None) -> int:
    """Compare, write the JSON, print the tables; returns the exit code."""
    if isinstance(args, Plan) or (args is None and _wants_efficiency()):
        return execute(Plan, partial(_efficiency, command=None if args else command_line()), args)
    return execute(Args, partial(_compare, command=None if args else command_line()), args, old=OLD)


def _compare(args: Args, command: str | None) -> int:
    requirements = parse_requirements(args.require, args.engines)
    require_new_output(args.output, args.engines, args.annotations, page=args.report)
    dataset, extras = read_coco(args.annotations), list[Extra]()
    look = look_for_differences(extras, dataset, args.images) if args.report else None
    measured = compare(
        args.engines,
        dataset,
        args.images,
        args.settings,
        limit=args.limit,
        resamples=args.resamples,
        look=look,
    )
    report = judge(replace(measured, command=command), requirements)
    write_report(report, args.output)
    write_page(report, args.report, *extras)
    print_comparison(report)
    if args.report:
        print(f"page: {args.report}")
    return exit_code(report)


def _efficiency(plan: Plan, command: str | None) -> None:
    report = measure_efficiency(plan, command)
    write_page(report, plan.report)
    print_efficiency(report)
    for path in draw(report, plan.output):
        print(f"figure: {path}")
    print(f"report with all samples: {plan.output}")
    if plan.report:
        print(f"page: {plan.report}")


def _wants_efficiency() -> bool:
    """Take ``--table efficiency`` from the command line into the program's name, and say whether it was there."""
    parser = argparse.ArgumentParser(prog=program_name(), add_help=False, allow_abbrev=False)
    parser.add_argument("--table", choices=["efficiency"])
    chosen, rest = parser.parse_known_args()
    if chosen.table is None:
        return False
    sys.argv = [f"{program_name()} --table efficiency", *rest]
    return True


if __name__ == "__main__":
    raise SystemExit(main())
