"""The losses of RefineMask's stages (paper section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from refinemask.data.training import ImageTargets
from refinemask.modeling.losses import average, binary_loss
from refinemask.ops import boundary_map, upsample_aligned
from refinemask.targets.mask_targets import semantic_target
from refinemask.targets.rois import Positives, batch_mask_targets

BOUNDARY_WIDTH = 2
"""Width of the trained boundary, in pixels of the previous stage's mask."""
SIZES = (14, 28, 56, 112)
"""Sides of the stages' masks."""
SEMANTIC_STRIDE = 4
"""Pixels of the input per pixel of the semantic logits."""


def stage_terms(
    stage_logits: Sequence[Tensor], weights: Sequence[float], positives: Positives, targets: Sequence[ImageTargets]
) -> dict[str, Tensor]:
    """The weighted loss of every stage, by its size.

    Args:
        stage_logits: [P, 1, n, n] for n = 14, 28, 56, 112.
        weights: weight of each stage's loss.
    """
    masks = batch_mask_targets(targets, positives, SIZES)
    losses = refine_mask_losses([logits.float() for logits in stage_logits], masks)
    return {f"mask_{n}": weight * loss for n, weight, loss in zip(SIZES, weights, losses, strict=True)}


def semantic_loss(logits: Tensor, targets: Sequence[ImageTargets]) -> Tensor:
    """The loss of the semantic branch's logits [B, 1, H/4, W/4]: whether a pixel lies on any instance."""
    logits = logits.float()
    height, width = logits.shape[-2:]
    canvas = SEMANTIC_STRIDE * height, SEMANTIC_STRIDE * width
    union = semantic_target([target.masks for target in targets], canvas, (height, width))
    return binary_loss(logits, union.to(logits.device))


def refine_mask_losses(stage_logits: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
    """Loss of every stage, unweighted.

    The first two stages learn from all pixels. A later stage learns only near the boundary of the refined mask so far,
    or of the ground truth.

    Args:
        stage_logits: [P, 1, n, n] for n = 14, 28, 56, 112.
        targets: [P, n, n] of 0 and 1, of the same sizes.
    """
    targets = [target[:, None] for target in targets]
    losses = [binary_loss(logits, target) for logits, target in zip(stage_logits[:2], targets, strict=False)]
    refined = stage_logits[1].detach()
    for logits, target, previous in zip(stage_logits[2:], targets[2:], targets[1:], strict=False):
        mask = (refined.sigmoid() >= 0.5).float()
        near = torch.maximum(boundary_map(mask, BOUNDARY_WIDTH), boundary_map(previous, BOUNDARY_WIDTH))
        region = upsample_aligned(near) >= 0.5
        pixels = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        losses.append(average((pixels * region).sum(), region.sum()))
        replaced = upsample_aligned(boundary_map(mask, 1)) >= 0.5
        refined = torch.where(replaced, logits.detach(), upsample_aligned(refined))
    return losses
