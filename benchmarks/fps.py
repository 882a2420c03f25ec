"""How fast are they: engines side by side over real images, latency phase by phase.

python -m benchmarks.fps model.safetensors model.onnx model.onnx@openvino:bf16 --images DIRECTORY
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from benchmarks.harness.measure import Settings, measure, require_at_least
from benchmarks.harness.report import build_report, print_report, write_report
from refinemask.files import UserError
from refinemask.predict import find_images


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time engines over real images: work depends on what they show, so noise would measure something else."""

    engines: tyro.conf.Positional[tuple[str, ...]]
    """PATH[@BACKEND[:PRECISION]] each; the first is the baseline of the speed-ups."""
    images: Path
    """An image or a directory of images."""
    limit: int | None = None
    """Only the first so many images by name."""
    output: Path | None = None
    """JSON file for the report with all samples."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def main(args: Args | None = None) -> int:
    """Measure, print the tables, write the JSON; exit code 2 where something given is wrong."""
    try:
        # The settings are checked as they are read.
        args = args or tyro.cli(Args)
        require_at_least(1, limit=args.limit)
        report = build_report(measure(args.engines, find_images([args.images])[: args.limit], args.settings))
        if args.output is not None:
            write_report(report, args.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_report(report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
