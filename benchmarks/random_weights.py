"""A checkpoint of the published architecture without its weights, for measuring speed.

    python -m benchmarks.random_weights --output r50-random.safetensors

Speed depends on the weights only through the detections, so they are made always as many as the model can give (no
score threshold) and spread over the image.
"""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import tyro
from torch import nn

from refinemask.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, RefineMaskConfig
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.weights import save_detector

COCO_CLASSES = 80
RECIPE = "random weights"
"""Recipe in the metadata of such a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write a detector with seeded random weights, 80 classes and always 100 detections."""

    output: Path
    """The checkpoint (.safetensors)."""
    mask_head: MaskHeadConfig = field(default_factory=RefineMaskConfig)
    depth: int = 50
    """50 or 101."""
    seed: int = 0


def random_config(mask_head: MaskHeadConfig, depth: int = 50) -> ModelConfig:
    """The published architecture for COCO's 80 classes, without a score threshold.

    Raises:
        UserError: the depth is neither 50 nor 101.
    """
    blocks = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
    if depth not in blocks:
        raise UserError(f"depth is {depth}; expected 50 or 101")
    return ModelConfig(
        class_names=tuple(f"class {label}" for label in range(COCO_CLASSES)),
        category_ids=tuple(range(1, COCO_CLASSES + 1)),
        backbone=replace(BackboneConfig(), blocks=blocks[depth]),
        box_head=BoxHeadConfig(score_threshold=0.0),
        mask_head=mask_head,
    )


def randomize(detector: Detector, seed: int) -> Detector:
    """Fill a detector with weights that keep activations in range and tell one region from another; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in detector.named_parameters():
        if weight.dim() > 1:
            nn.init.kaiming_normal_(weight, generator=generator)
            # What all inputs share, being mostly positive, must not outweigh what tells them apart.
            weight.data -= weight.data.flatten(1).mean(1).reshape(-1, *[1] * (weight.dim() - 1))
        elif name.endswith("bn3.weight"):
            # Each residual block adds to the variance.
            nn.init.constant_(weight, 0.25)
        if "bbox_deltas" in name:
            weight.data *= 0.2
    return detector.eval()


def random_detector(args: Args) -> Detector:
    """The detector that the arguments describe, without writing it.

    Raises:
        UserError: the depth is neither 50 nor 101.
    """
    return randomize(Detector(random_config(args.mask_head, args.depth)), args.seed)


def main(args: Args | None = None) -> int:
    """Write the checkpoint; exit code 2 where something given is wrong."""
    args = args or tyro.cli(Args)
    try:
        save_detector(random_detector(args), args.output, recipe=RECIPE)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
