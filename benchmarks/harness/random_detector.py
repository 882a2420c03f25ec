"""The published architecture with random weights, where speed is measured.

Speed depends on the weights only through the detections. So a detector always gives as many as it can, without a score
threshold, and spreads them over the image.
"""

from dataclasses import replace

import torch
from torch import nn

from refinemask.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig
from refinemask.files import UserError
from refinemask.modeling.blocks import LabelPredictor
from refinemask.modeling.detector import Detector
from refinemask.modeling.point_head import PointHead

COCO_CLASSES = 80
RECIPE = "random weights"
"""Recipe in the metadata of a checkpoint with random weights."""
SETTLED_RECIPE = "random weights, settled"
"""Recipe of one whose weights are settled, too (:func:`settle`)."""
PROPOSAL_SHIFT = 0.25
"""Factor of the RPN's box deltas that keeps proposals near their anchors."""
FOREGROUND = 0.7
"""Share of the features' mean that is added to each mask logit."""


def random_config(mask_head: MaskHeadConfig, depth: int = 50, score_threshold: float = 0.0) -> ModelConfig:
    """The published architecture for COCO's 80 classes, without a score threshold unless one is given.

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
        box_head=BoxHeadConfig(score_threshold=score_threshold),
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


@torch.no_grad()
def settle(detector: Detector) -> Detector:
    """Change random weights, in place, so that roundings to half precision decide as little as in a trained detector.

    Purely random masks have most pixels near one half, and proposals far from their anchors multiply each rounding of a
    delta. Shapes and numbers of detections stay, and so does the work.
    """
    detector.rpn.bbox_deltas.weight *= PROPOSAL_SHIFT
    for module in detector.modules():
        if isinstance(module, LabelPredictor):
            module.weight += FOREGROUND / module.in_channels
        elif isinstance(module, PointHead):
            module.predictor.weight += FOREGROUND / module.predictor.in_features
    return detector


def random_detector(
    mask_head: MaskHeadConfig, *, depth: int = 50, seed: int = 0, score_threshold: float = 0.0
) -> Detector:
    """The published architecture with seeded random weights.

    Args:
        mask_head: the mask head's configuration.
        depth: 50 or 101 layers of the backbone.
        seed: seed of the weights.
        score_threshold: score above which a detection counts, 0 to 1.

    Raises:
        UserError: the depth is neither 50 nor 101.
    """
    return settle(randomize(Detector(random_config(mask_head, depth, score_threshold)), seed))
