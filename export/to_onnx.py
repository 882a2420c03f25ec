"""Export a checkpoint to ONNX: ``python -m export.to_onnx --checkpoint model.safetensors --output model.onnx``."""

import sys
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
import tyro
from rich.console import Console

from export.model import add_bodies, to_onnx
from export.precision import Precision, widen
from export.tensorrt_rules import check_model
from export.verify import PARITY, MismatchError, onnx_runner, passes, report, torch_runner, verification_images, verify
from refinemask.config import Preprocessing
from refinemask.contract import Bounds, Masks, default_sizes, parse_size
from refinemask.files import UserError, atomic_write, sha256
from refinemask.weights import load_detector, read_metadata


@dataclass(frozen=True)
class Args:
    """Export a checkpoint to ONNX, and verify the file against PyTorch on real images.

    Sizes are HEIGHTxWIDTH of the padded images, multiples of 32. Unless told otherwise the file takes every size
    that the model's preprocessing gives.
    """

    checkpoint: Path
    output: Path
    static: str | None = None
    """The one size of a static file."""
    min: str | None = None
    """Smallest size of a dynamic file."""
    opt: str | None = None
    """Its typical size, which a TensorRT engine is tuned for."""
    max: str | None = None
    """Its largest size."""
    batch: tuple[int, ...] = (1, 1, 8)
    """Smallest, typical and largest; a single number fixes it."""
    precision: Precision = "fp32"
    """Type of weights and features; box arithmetic, scores and the boundary test are float32 in any case."""
    opset: int | None = None
    """ONNX operator set, 18 to 21, and for bf16 22 to 24; by default 20 and 22."""
    masks: Masks = "all"
    """all: every place for a detection gets a mask and no shape depends on the image, as TensorRT needs it; found: only
    detections do, which is faster in ONNX Runtime and OpenVINO the fewer there are."""
    bodies: bool = True
    """Carry the custom operators' bodies. TensorRT before 10.7 takes a body even if the plugin is loaded."""
    verify_images: Path = Path("demo")
    """Directory with pictures for the verification."""
    mask_iou: float | None = None
    """Smallest IoU with PyTorch's masks that agrees, in place of the precision's own: random weights leave many pixels
    undecided."""

    def bounds(self, preprocessing: Preprocessing) -> Bounds:
        """The limits asked for, the rest from the model's preprocessing."""
        if self.static and (self.min or self.opt or self.max):
            raise UserError(f"--static {self.static} fixes the size: leave out --min, --opt and --max")
        sizes = list(zip(*default_sizes(preprocessing), strict=True))
        for index, text in enumerate((self.min, self.opt, self.max)):
            if self.static or text:
                sizes[index] = parse_size(self.static or text or "")
        height, width = zip(*sizes, strict=True)
        batch = self.batch * 3 if len(self.batch) == 1 else self.batch
        if len(batch) != 3:
            raise UserError(f"--batch {self.batch}: expected one number, or smallest, typical and largest")
        return Bounds(batch=batch, height=height, width=width)


def main(args: Args | None = None) -> int:
    """Run the command line."""
    args = args or tyro.cli(Args)
    try:
        _export(args)
        return 0
    except (UserError, MismatchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, MismatchError) else 2


def _export(args: Args) -> None:
    if args.masks == "found" and (args.precision == "bf16" or not args.bodies):
        option = "--no-bodies" if not args.bodies else "--precision bf16"
        raise UserError(
            f"{args.output}: nothing runs --masks found with {option}: only TensorRT takes a file of the latter, "
            "and it takes none of the former; leave one of them out"
        )
    detector = load_detector(args.checkpoint)
    bounds = args.bounds(detector.config.preprocessing)
    images = verification_images(args.verify_images)
    model = to_onnx(detector, bounds, precision=args.precision, masks=args.masks, opset=args.opset)
    recipe = read_metadata(args.checkpoint).get("recipe", "")
    model.metadata_props.update(recipe=recipe, source_sha256=sha256(args.checkpoint))
    console, parity = Console(), PARITY[args.precision]
    if args.mask_iou is not None:
        parity = parity._replace(masks=args.mask_iou)
    with atomic_write(args.output) as temporary:
        ir.save(model, temporary)
        onnx.checker.check_model(temporary, full_check=True)
        file = onnx_runner(_runnable(model, temporary, args))
        comparisons = verify(file, torch_runner(detector), detector.config.preprocessing, bounds, images)
        console.print(report(comparisons, parity, "ONNX Runtime against PyTorch fp32, worst of each"))
        if not passes(comparisons, parity):
            raise MismatchError(f"{args.output}: not written, it does not agree with PyTorch (see the table)")
        if not any(len(found.boxes) for found in comparisons):
            console.print(
                "[yellow]No picture has a detection[/]: boxes and masks remain unverified; try --verify-images"
            )
        if not args.bodies:
            model.functions.clear()
            ir.save(model, temporary)
    # Found masks are not for TensorRT, as the option says.
    refused = check_model(model, "tensorrt-10") if args.masks == "all" else []
    for finding in refused:
        if finding.body is None:
            console.print(f"[yellow]TensorRT will refuse[/] {finding}")
    console.print(f"{args.output}: written and verified")


def _runnable(model: ir.Model, path: Path, args: Args) -> Path | bytes:
    """What ONNX Runtime can run of the file at ``path``: itself, or for bf16 the same in float32."""
    if args.precision != "bf16":
        return path
    widened = widen(model)
    add_bodies(widened)
    return ir.to_proto(widened).SerializeToString()


if __name__ == "__main__":
    raise SystemExit(main())
