"""``python -m refinemask.convert OFFICIAL.pth OUT.safetensors``: an official checkpoint as one of ours."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from refinemask.files import UserError, sha256


@dataclass(frozen=True)
class Args:
    """Convert an official RefineMask, Mask R-CNN, PointRend or HTC checkpoint (mmdetection layout) to safetensors."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """The official .pth file. Nothing in it is executed."""
    output: Annotated[Path, tyro.conf.Positional]
    """The .safetensors file to write."""


def main(args: Args | None = None) -> int:
    args = args or tyro.cli(Args)
    try:
        print(convert(args.checkpoint, args.output))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def convert(checkpoint: Path, output: Path) -> str:
    """Write ``output`` and return one line that says what the checkpoint was.

    Raises:
        UserError: the checkpoint cannot be used; nothing is written.
    """
    from refinemask.modeling.families import family_of
    from refinemask.official import detector_from_official
    from refinemask.weights import save_detector

    if output.suffix != ".safetensors":
        raise UserError(f"{output}: the output is a safetensors file; name it {output.with_suffix('.safetensors')}")
    detector = detector_from_official(checkpoint)
    config = detector.config
    head = family_of(config.mask_head).head_name(config.mask_head)
    recipe = f"official: {checkpoint.name}"
    save_detector(detector, output, recipe=recipe, metadata={"source_sha256": sha256(checkpoint)})
    depth = 3 * sum(config.backbone.blocks) + 2
    parameters = sum(p.numel() for p in detector.parameters()) / 1e6
    return f"{output}: ResNet-{depth}, {config.num_classes} classes, {head} head, {parameters:.2f} M parameters"


if __name__ == "__main__":
    raise SystemExit(main())
