"""Export a checkpoint to ONNX: ``python -m export.to_onnx model.safetensors -o model.onnx``."""

from dataclasses import dataclass

from export.bounds import BATCH, choose_bounds
from export.tables import print_export
from export.verified_export import export_onnx
from refinemask.agreement import MismatchError
from refinemask.command import execute
from refinemask.contract import Bounds, Masks
from refinemask.files import require_not_input
from refinemask.modeling.exported import Precision
from refinemask.spelling import Model, Old, OptionalNumber, OptionalPath, OptionalSize, OptionalWindow, Output
from refinemask.weights import read_config


@dataclass(frozen=True)
class Args:
    """Export a checkpoint to ONNX, and verify the file against PyTorch on real images.

    Sizes are heights and widths of the padded images, multiples of 32. Unless told otherwise the file takes every size
    that the model's preprocessing gives.
    """

    checkpoint: Model
    """A checkpoint (.safetensors)."""
    output: Output
    """The ONNX file to write."""
    static: OptionalSize = None
    """The one size of a static file."""
    min: OptionalSize = None
    """Smallest size of a dynamic file."""
    opt: OptionalSize = None
    """Typical size of a dynamic file, which a TensorRT engine is tuned for."""
    max: OptionalSize = None
    """Largest size of a dynamic file."""
    batch: tuple[int, ...] = BATCH
    """Smallest, typical and largest number of images per batch; a single number fixes it."""
    precision: Precision = "fp32"
    """Type of weights and features; box arithmetic, scores and the boundary test are float32 in any case."""
    opset: OptionalNumber = None
    """ONNX operator set, 18 to 21, and for bf16 22 to 24; by default 20 and 22."""
    masks: Masks = "all"
    """all: every place for a detection gets a mask and no shape depends on the image, as TensorRT needs it; found: only
    detections do, which is faster in ONNX Runtime and OpenVINO the fewer there are."""
    bodies: bool = True
    """Carry the custom operators' bodies. TensorRT before 10.7 takes a body even if the plugin is loaded."""
    detections: OptionalNumber = None
    """Largest number of detections per image, 1 to 3840; if not given, the checkpoint's."""
    score_threshold: float | None = None
    """Score above which a detection counts, 0 to 1; if not given, the checkpoint's."""
    verify_images: OptionalPath = None
    """Directory with pictures for the verification; by default the bundled ones."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8, recorded in the file: the values that become 0 and 255, or
    percentiles of each image's values; if not given, the checkpoint's."""


def main(args: Args | None = None) -> int:
    """Run the command line: exit code 1 when the file does not agree with PyTorch, 2 for wrong input."""
    return execute(Args, _export, args, old={"--checkpoint": Old("")})


def _export(args: Args) -> None:
    require_not_input(args.output, args.checkpoint)
    try:
        report = export_onnx(
            args.checkpoint,
            args.output,
            bounds=_bounds(args),
            precision=args.precision,
            masks=args.masks,
            opset=args.opset,
            bodies=args.bodies,
            verify_images=args.verify_images,
            detections=args.detections,
            score_threshold=args.score_threshold,
            window=args.window,
        )
    except MismatchError as error:
        print_export(error)
        raise
    print_export(report)


def _bounds(args: Args) -> Bounds:
    return choose_bounds(
        read_config(args.checkpoint).preprocessing,
        batch=args.batch,
        static=args.static,
        smallest=args.min,
        typical=args.opt,
        largest=args.max,
    )


if __name__ == "__main__":
    raise SystemExit(main())
