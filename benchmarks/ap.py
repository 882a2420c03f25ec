"""How accurate are they: average precision of boxes, masks and boundaries, of any engine.

python -m benchmarks.ap model.onnx --annotations val.json --images DIRECTORY
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.compare import compare
from benchmarks.harness.measure import Settings
from benchmarks.harness.report import print_accuracy, write_report
from refinemask.data.coco import read_coco
from refinemask.files import UserError


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure AP, AP50, AP75 and AP by size; speed is `python -m benchmarks.fps` or `benchmarks.compare`."""

    engines: tyro.conf.Positional[tuple[str, ...]]
    """PATH[@BACKEND[:PRECISION]] each."""
    annotations: Path
    """COCO annotations."""
    images: Path
    """Directory of the annotated images."""
    limit: int | None = None
    """Only the first so many images."""
    output: Path | None = None
    """JSON file for the report."""
    threads: int = 2
    """CPU threads of every engine."""
    device: str = "cpu"
    """cpu or cuda."""


def main(args: Args | None = None) -> int:
    """Measure, print the table, write the JSON; exit code 2 where something given is wrong."""
    args = args or tyro.cli(Args)
    try:
        settings = Settings(threads=args.threads, device=args.device, warmup=0)
        report = compare(args.engines, read_coco(args.annotations), args.images, settings, args.limit)
        if args.output is not None:
            write_report(report, args.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_accuracy(report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
