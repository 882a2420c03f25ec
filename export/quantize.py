"""Quantise an exported file to int8 or fp8 by Q/DQ nodes.

The ranges are calibrated on real images, in an environment of its own because nvidia-modelopt pins older versions of
onnx and ONNX Runtime, and kept beside the file; with them other exports of the same checkpoint need no calibration::

    make quantize-env
    .venv-quantize/bin/python -m export.quantize model.onnx --output int8.onnx --calibration val.json --images DIR
    python -m export.quantize model-fp16.onnx --output int8-fp16.onnx --ranges int8.ranges.json --images DIR

What is not quantised keeps the type it has: TensorRT runs an int8 file made of an fp16 export in int8 and fp16.
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import tyro
from numpy.typing import NDArray
from rich.console import Console

from export.calibration import Calibration, calibrate, read_calibration, write_calibration
from export.model import add_bodies
from export.qdq import QuantizedType, insert_qdq, kept_layers, layers
from export.reading import read_model
from export.tables import comparison_table
from export.verify import NUM_IMAGES, PARITY, MismatchError, onnx_runner, passes, verification_images, verify
from refinemask.config import ModelConfig, Preprocessing, from_json
from refinemask.contract import Bounds
from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.files import UserError, atomic_write

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Args:
    """Quantise an exported file, and compare it with the file it was made of on other images.

    Either calibrate it, or take the ranges of an earlier calibration.
    """

    model: tyro.conf.Positional[Path]
    output: Path
    images: Path
    """Directory of the images to calibrate and to compare on."""
    calibration: Path | None = None
    """COCO annotations: which images to calibrate on. The ranges are written beside the output."""
    ranges: Path | None = None
    """Ranges of an earlier calibration of the same checkpoint."""
    precision: QuantizedType = "int8"
    count: int = 64
    """Images for the calibration, spread evenly over the annotation file."""


def quantize(model: ir.Model, calibration: Calibration, precision: QuantizedType) -> None:
    """Put Q/DQ nodes around the layers that have a range, in place, and say so in the metadata.

    Raises:
        UserError: the ranges are of another checkpoint, or of another version of its layers.
    """
    if calibration.source_sha256 != model.metadata_props.get("source_sha256"):
        raise UserError("the ranges are of another checkpoint than the file: calibrate again (--calibration)")
    if unknown := set(calibration.ranges) - set(layers(model.graph)):
        raise UserError(f"the ranges name layers that the file lacks ({min(unknown)}, …): calibrate again")
    insert_qdq(model.graph, calibration.ranges, precision)
    model.metadata_props.update(
        precision=precision, calibration=calibration.tool, calibration_images=str(calibration.images)
    )


def main(args: Args | None = None) -> int:
    """Run the command line: exit code 1 when the result is too far from the original, 2 for wrong input."""
    args = args or tyro.cli(Args)
    try:
        _quantize(args)
    except (UserError, MismatchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, MismatchError) else 2
    return 0


def _quantize(args: Args) -> None:
    model = read_model(args.model)
    metadata = model.metadata_props
    if "config" not in metadata or metadata.get("precision") not in ("fp32", "fp16"):
        raise UserError(f"{args.model}: expected an fp32 or fp16 file written by python -m export.to_onnx")
    preprocessing = from_json(ModelConfig, metadata["config"]).preprocessing
    bounds = Bounds.from_json(metadata["bounds"])
    console, parity, bodies = Console(), PARITY[args.precision], bool(model.functions)
    with _runnable(args.model, model) as source, atomic_write(args.output) as temporary:
        calibration, held_out = _calibration(args, source, preprocessing, bounds)
        quantize(model, calibration, args.precision)
        ir.save(model, temporary)
        onnx.checker.check_model(temporary, full_check=True)
        comparisons = verify(onnx_runner(temporary), onnx_runner(source), preprocessing, bounds, held_out)
        console.print(comparison_table(comparisons, parity, f"{args.precision} against {args.model.name}, worst of each"))
        if not passes(comparisons, parity):
            reason = f"{args.output}: not written, it is too far from {args.model} (see the table)"
            raise MismatchError(reason, comparisons, parity)
        if not bodies:
            model.functions.clear()
            ir.save(model, temporary)
    if args.calibration is not None:
        write_calibration(calibration, args.output.with_suffix(".ranges.json"))
    for reason, names in _kept_by_reason(model.graph, calibration).items():
        console.print(f"not quantised ({len(names)}): {reason}")
    console.print(f"{args.output}: written")


@contextmanager
def _runnable(path: Path, model: ir.Model) -> Iterator[Path]:
    """``path``, or where it is a file without bodies, which ONNX Runtime needs, a copy with them; so is ``model``."""
    if model.functions:
        yield path
        return
    add_bodies(model)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / path.name
        ir.save(model, copy)
        yield copy


def _calibration(
    args: Args, source: Path, preprocessing: Preprocessing, bounds: Bounds
) -> tuple[Calibration, list[Image]]:
    """The ranges of the file at ``source``, and images to compare on."""
    if args.calibration is None and args.ranges is not None:
        return read_calibration(args.ranges), verification_images(args.images)
    if args.calibration is None or args.ranges is not None:
        raise UserError("give either --calibration, COCO annotations, or --ranges of an earlier calibration")
    if args.count < 1:
        raise UserError(f"--count {args.count}: expected at least one image to calibrate on")
    images, held_out = _read_images(args.calibration, args.images, args.count)
    return calibrate(source, preprocess(images, preprocessing, (bounds.height[1], bounds.width[1]))), held_out


def _read_images(annotations: Path, directory: Path, count: int) -> tuple[list[Image], list[Image]]:
    """Calibration images, and others to compare on; where there are too few, some serve for both."""
    entries = read_coco(annotations).images
    if not entries:
        raise UserError(f"{annotations}: lists no images to calibrate on")
    chosen = _spread(len(entries), count)
    others = sorted(set(range(len(entries))) - set(chosen)) or chosen
    held_out = [others[index] for index in _spread(len(others), NUM_IMAGES)]
    first, second = (
        [read_image(directory / entries[index].file_name) for index in part] for part in (chosen, held_out)
    )
    return first, second


def _spread(total: int, count: int) -> list[int]:
    """Up to ``count`` of the numbers below ``total``, evenly."""
    return sorted({round(position) for position in np.linspace(0, total - 1, min(count, total))})


def _kept_by_reason(graph: ir.Graph, calibration: Calibration) -> dict[str, list[str]]:
    kept, names = kept_layers(graph), defaultdict(list)
    for name in layers(graph):
        if name not in calibration.ranges:
            names[kept.get(name, "left out by nvidia-modelopt")].append(name)
    return names


if __name__ == "__main__":
    raise SystemExit(main())
