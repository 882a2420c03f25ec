"""How fast are they: engines side by side over real images, latency phase by phase.

python -m benchmarks.fps model.safetensors model.onnx model.onnx@openvino:bf16 --images DIRECTORY
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from benchmarks.measure import Settings, measure
from benchmarks.report import build_report, print_report, write_report
from refinemask.files import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time engines over real images: work depends on what they show, so noise would measure something else."""

    engines: tyro.conf.Positional[tuple[str, ...]]
    """PATH[@BACKEND[:PRECISION]] each; the first is the baseline of the speed-ups."""
    images: Path
    """Directory of images."""
    limit: int | None = None
    """Only the first so many images by name."""
    output: Path | None = None
    """JSON file for the report with all samples."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def list_images(directory: Path, limit: int | None = None) -> list[Path]:
    """The image files of a directory by name.

    Raises:
        UserError: there is no such directory, or no image in it.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; --images expects a directory of images")
    images = sorted(path for path in directory.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise UserError(f"{directory}: no images in it; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    return images[:limit]


def main(args: Args | None = None) -> int:
    """Measure, print the tables, write the JSON; exit code 2 where something given is wrong."""
    args = args or tyro.cli(Args)
    try:
        report = build_report(measure(args.engines, list_images(args.images, args.limit), args.settings))
        if args.output is not None:
            write_report(report, args.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_report(report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
