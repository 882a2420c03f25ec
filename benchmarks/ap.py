"""How accurate are they: average precision of boxes, masks and boundaries, of any engine.

python -m benchmarks.ap model.onnx --annotations val.json --images DIRECTORY
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.comparison import compare
from benchmarks.harness.report_file import write_report
from benchmarks.harness.requirement import Requirements, exit_code, judge, parse_requirements
from benchmarks.harness.settings import Settings
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.tables import print_accuracy
from refinemask.command import execute
from refinemask.data.coco import read_coco
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.spelling import Engines, OptionalNumber, OptionalOutput


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure AP, AP50, AP75 and AP by size; speed is `python -m benchmarks.fps` or `benchmarks.compare`."""

    engines: Engines
    """Engines, PATH[@BACKEND[:PRECISION]] each. Those behind the first may also be results of a detector that is not
    run, RESULTS.json[@NAME], and weights of torchvision's Mask R-CNN, PATH@torchvision."""
    annotations: Path
    """COCO annotations."""
    images: Path
    """Directory of the annotated images."""
    limit: OptionalNumber = None
    """Number of the first images to use; all if not given."""
    output: OptionalOutput = None
    """JSON file for the report."""
    resamples: int = RESAMPLES
    """Bootstrap resamples of the images for the intervals of AP; 0 leaves the intervals out."""
    require: Requirements = ()
    """What must hold, such as 'ΔAP >= -0.2' or 'boundary_ap[openvino:bf16] >= 50', by the worse end of the interval;
    otherwise the exit code is 3. It may be given several times."""
    threads: int = 2
    """CPU threads of every engine."""
    device: str = "cpu"
    """Device, cpu or cuda."""


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the table; returns the exit code."""
    return execute(Args, _ap, args)


def _ap(args: Args) -> int:
    requirements = parse_requirements(args.require, args.engines, speed=False)
    settings = Settings(threads=args.threads, device=args.device, warmup=0)
    require_new_output(args.output, args.engines, args.annotations)
    dataset = read_coco(args.annotations)
    measured = compare(args.engines, dataset, args.images, settings, limit=args.limit, resamples=args.resamples)
    report = judge(measured, requirements)
    write_report(report, args.output)
    print_accuracy(report)
    return exit_code(report)


if __name__ == "__main__":
    raise SystemExit(main())
