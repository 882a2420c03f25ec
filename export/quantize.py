"""Quantise an exported file to int8 or fp8 by Q/DQ nodes.

The ranges are calibrated on real images, which need no annotations, and kept beside the file. With them other exports
of the same checkpoint need no calibration::

    python -m export.quantize model.onnx -o int8.onnx --images DIR
    python -m export.quantize model-fp16.onnx -o int8-fp16.onnx --ranges int8.ranges.json --images DIR

An interrupted calibration goes on when the same command is given again. What is not quantised keeps the type it has:
TensorRT runs an int8 file made of an fp16 export in int8 and fp16.
"""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from export.calibration.methods import Method
from export.max_drop.kept_table import print_kept_layers
from export.qdq import QuantizedType
from export.quantization import quantize_onnx
from export.tables import comparison_table
from refinemask.agreement import MismatchError
from refinemask.command import execute
from refinemask.spelling import Model, OptionalName, OptionalNumber, OptionalPath, Output


@dataclass(frozen=True)
class Args:
    """Quantise an exported file, and compare it with the file it was made of on other images.

    It is calibrated on the images, which need no annotations, unless ranges of an earlier calibration are given.
    """

    model: Model
    """An fp32 or fp16 file written by export.to_onnx."""
    output: Output
    """The quantised ONNX file to write."""
    images: Path
    """Directory of the images to calibrate and to compare on."""
    calibration: OptionalPath = None
    """COCO annotations: of the images in the directory, only those that they list are used."""
    ranges: OptionalPath = None
    """Ranges of an earlier calibration of the same checkpoint; a new one writes its own beside the output."""
    precision: QuantizedType = "int8"
    """int8 or fp8."""
    method: Method | None = None
    """How a new calibration chooses the range of a tensor; percentile-99.99 if not given."""
    count: OptionalNumber = None
    """Images for a new calibration, spread evenly over all; 64 if not given."""
    max_drop: float | None = None
    """Keep as few layers in higher precision as it takes for mask and boundary AP to lose at most so many points, such
    as 0.3. An interrupted search goes on when the command is repeated."""
    annotations: OptionalPath = None
    """Annotations of images in --images, by which --max-drop is judged."""
    backend: OptionalName = None
    """The engine in which --max-drop is judged, onnxruntime or openvino; onnxruntime if not given."""


def main(args: Args | None = None) -> int:
    """Run the command line: exit code 1 when the result is too far from the original, 2 for wrong input."""
    return execute(Args, _quantize, args)


def _quantize(args: Args) -> None:
    console, title = Console(), f"{args.precision} against {escape(args.model.name)}, worst of each"
    try:
        report = quantize_onnx(
            args.model,
            args.output,
            images=args.images,
            calibration=args.calibration,
            ranges=args.ranges,
            precision=args.precision,
            method=args.method,
            count=args.count,
            max_drop=args.max_drop,
            annotations=args.annotations,
            backend=args.backend,
        )
    except MismatchError as error:
        console.print(comparison_table(error.comparisons, error.parity, title))
        raise
    console.print(comparison_table(report.comparisons, report.parity, title))
    if report.metadata.kept is not None:
        print_kept_layers(console, report.metadata.kept)
    for reason, names in report.kept.items():
        print(f"not quantised ({len(names)}): {reason}")
    print(f"{report.output}: written")


if __name__ == "__main__":
    raise SystemExit(main())
