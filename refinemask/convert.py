"""An official checkpoint as one of ours: ``python -m refinemask.convert OFFICIAL.pth -o OUT.safetensors``."""

from dataclasses import dataclass

from refinemask.command import execute
from refinemask.spelling import SECOND, Model, Old, OptionalPath, Output


@dataclass(frozen=True)
class Args:
    """Convert an official RefineMask, Mask R-CNN, PointRend or HTC checkpoint (mmdetection layout) to safetensors."""

    checkpoint: Model
    """The official .pth file. Nothing in it is executed."""
    output: Output
    """The .safetensors file to write."""
    categories: OptionalPath = None
    """COCO annotations from which each class gets its category id, by its name."""
    ema: bool = False
    """Take the second set of weights, which a training with a moving average keeps (keys ema_… or ema_state_dict). The
    hooks of mmcv and MMEngine save the average under the plain keys, and the last weights there."""


def main(args: Args | None = None) -> int:
    """Convert, and say what the checkpoint was; 2 for bad input."""
    return execute(Args, _convert, args, old={SECOND: Old("--output")})


def _convert(args: Args) -> None:
    # Loads PyTorch, which --help does not need.
    from refinemask.conversion import convert_checkpoint
    from refinemask.modeling.families import family_of

    found = convert_checkpoint(args.checkpoint, args.output, categories=args.categories, ema=args.ema)
    config = found.config
    head = family_of(config.mask_head).head_name(config.mask_head)
    depth, parameters = 3 * sum(config.backbone.blocks) + 2, found.parameters / 1e6
    print(f"{found.path}: ResNet-{depth}, {config.num_classes} classes, {head} head, {parameters:.2f} M parameters")
    for remark in found.remarks:
        print(remark)


if __name__ == "__main__":
    raise SystemExit(main())
