"""Mask R-CNN here and in torchvision, on the same cores: ``python -m benchmarks.peers mask-rcnn.onnx``.

Both have 1000 proposals and 100 detections. Timed is the way from a normalised image (ours takes uint8) to boxes,
labels, scores and masks of 28×28.
"""

from dataclasses import dataclass

import tyro

from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import OLD
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.tables import print_tables
from benchmarks.peers.measurement import Plan, measure_beside_torchvision
from benchmarks.peers.table import table
from refinemask.command import execute
from refinemask.spelling import OptionalOutput


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time torchvision's maskrcnn_resnet50_fpn and this project's Mask R-CNN in turns, each in a process of its own."""

    plan: tyro.conf.OmitArgPrefixes[Plan]
    output: OptionalOutput = None
    """JSON file for the result."""


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the table; returns the exit code."""
    return execute(Args, _peers, args, description=__doc__, old=OLD)


def _peers(args: Args) -> None:
    require_new_output(args.output, [], args.plan.exported, args.plan.image)
    report = measure_beside_torchvision(args.plan)
    write_report(report, args.output)
    print_tables([table(report)], report.foreign_load)


if __name__ == "__main__":
    raise SystemExit(main())
