"""How fast are they: engines side by side over real images, latency phase by phase.

python -m benchmarks.fps model.safetensors model.onnx model.onnx@openvino:bf16 --images DIRECTORY
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import tyro

from benchmarks.harness.measure import measure
from benchmarks.harness.report import build_report
from benchmarks.harness.report_file import write_report
from benchmarks.harness.requirement import Requirements, exit_code, judge, parse_requirements
from benchmarks.harness.settings import OLD, Settings
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.tables import print_comparison
from benchmarks.report_page.write import write_page
from refinemask.command import execute
from refinemask.data.images import find_images
from refinemask.exit_codes import command_line
from refinemask.options import require_at_least
from refinemask.spelling import Engines, OptionalNumber, OptionalOutput, OptionalPath


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time engines over real images: work depends on what they show, so noise would measure something else."""

    engines: Engines
    """Engines, PATH[@BACKEND[:PRECISION]] each; the first is the baseline of the speed-ups."""
    images: Path
    """An image or a directory of images."""
    limit: OptionalNumber = None
    """Number of the first images by name to use; all if not given."""
    output: OptionalOutput = None
    """JSON file for the report with all samples."""
    report: OptionalPath = None
    """Page of HTML to look at, in one file: tables, charts with their intervals, and where the numbers come from."""
    require: Requirements = ()
    """What must hold, such as 'fps >= 5' or 'speedup[openvino:bf16] >= 1.5', by the worse end of the interval if there
    is one; otherwise the exit code is 3. It may be given several times."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the tables; returns the exit code."""
    return execute(Args, partial(_fps, command=None if args else command_line()), args, old=OLD)


def _fps(args: Args, command: str | None) -> int:
    requirements = parse_requirements(args.require, args.engines, accuracy=False)
    require_at_least(1, limit=args.limit)
    require_new_output(args.output, args.engines, page=args.report)
    measured = measure(args.engines, find_images([args.images])[: args.limit], args.settings)
    report = judge(replace(build_report(measured), command=command), requirements)
    write_report(report, args.output)
    write_page(report, args.report)
    print_comparison(report)
    if args.report:
        print(f"page: {args.report}")
    return exit_code(report)


if __name__ == "__main__":
    raise SystemExit(main())
