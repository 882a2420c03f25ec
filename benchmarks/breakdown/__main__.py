"""Where a detector's time goes: milliseconds of each part beside its GFLOPs, on every engine.

python -m benchmarks.breakdown model.safetensors model.onnx model.onnx@openvino:fp32 model.onnx@openvino:bf16
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from benchmarks.breakdown.measurement import break_down
from benchmarks.breakdown.report import Settings
from benchmarks.breakdown.table import table
from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import OLD
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.tables import print_tables
from refinemask.bundled import PHOTO
from refinemask.command import execute
from refinemask.spelling import Engines, OptionalOutput


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time every operator of one or more engines on one photograph and add the times up by part of the detector."""

    engines: Engines
    """Engines, PATH[@BACKEND[:PRECISION]] each, of checkpoints or of files exported for one size."""
    image: Path = PHOTO
    """Photograph that every engine runs on."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    output: OptionalOutput = None
    """JSON file for the result."""


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the table; returns the exit code."""
    return execute(Args, _breakdown, args, description=__doc__, old=OLD)


def _breakdown(args: Args) -> None:
    require_new_output(args.output, args.engines, args.image)
    report = break_down(args.engines, args.image, args.settings)
    write_report(report, args.output)
    print_tables([table(report)], report.foreign_load)


if __name__ == "__main__":
    raise SystemExit(main())
