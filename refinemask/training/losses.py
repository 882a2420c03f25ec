"""The loss terms, each a sum over what was sampled divided by how much was sampled."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from refinemask.distributed import mean_over_ranks
from refinemask.ops import boundary_map, upsample_aligned
from refinemask.training.targets import UNLABELLED

BOUNDARY_WIDTH = 2
STAGE_WEIGHTS = {"original": (0.25, 0.5, 0.75, 1.0), "simple": (0.5, 0.75, 0.75, 1.0)}
"""Of the 14, 28, 56 and 112 predictions, by the head's variant."""


def average(total: Tensor, count: Tensor | int) -> Tensor:
    """``total / count`` so that ranks, averaging their gradients, agree with one process on the joint batch."""
    count = torch.as_tensor(count, dtype=torch.float32, device=total.device)
    return total / mean_over_ranks(count).clamp(min=1)


def rpn_losses(
    logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, smooth_l1_beta: float | None = None
) -> tuple[Tensor, Tensor]:
    """Objectness and box loss over the sampled anchors of the batch.

    Args:
        logits: [N] of the sampled anchors.
        deltas: [P, 4] of the positive ones.
        labels: [N] 1 for positive, 0 for negative.
        targets: [P, 4] encoded ground truth.
        smooth_l1_beta: None for plain L1.
    """
    objectness = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    box = F.smooth_l1_loss(deltas, targets, beta=smooth_l1_beta or 0.0, reduction="sum")
    return average(objectness, len(labels)), average(box, len(labels))


def box_losses(
    logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, smooth_l1_beta: float | None
) -> tuple[Tensor, Tensor]:
    """Classification and box loss of the sampled RoIs, unweighted.

    Args:
        logits: [R, C + 1], background last.
        deltas: [R, 4C], of which only the row's own class is regressed.
        labels: [R], C for background.
        targets: [P, 4] encoded ground truth of the P positive rows, in row order.
        smooth_l1_beta: None for plain L1.
    """
    classification = F.cross_entropy(logits, labels, reduction="sum")
    positive = (labels < logits.shape[1] - 1).nonzero().squeeze(1)
    own = deltas[positive].view(len(positive), deltas.shape[1] // 4, 4)[torch.arange(len(positive)), labels[positive]]
    box = F.smooth_l1_loss(own, targets, beta=smooth_l1_beta or 0.0, reduction="sum")
    return average(classification, len(labels)), average(box, len(labels))


def binary_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy over all elements: Mask R-CNN's mask loss and RefineMask's semantic loss."""
    total = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return average(total, targets.numel())


def semantic_class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of HTC's semantic branch; without any labelled pixel it is 0.

    Args:
        logits: [B, S, h, w].
        labels: [B, h, w] int64, ``UNLABELLED`` where unknown.
    """
    total = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return average(total, (labels != UNLABELLED).sum())


def refine_mask_losses(stage_logits: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
    """Loss of every stage, unweighted (paper section 3.3).

    The first two stages learn all pixels; a later one only where the boundary of the mask so far, or of the ground
    truth, is near.

    Args:
        stage_logits: [P, 1, n, n] for n = 14, 28, 56, 112.
        targets: [P, n, n] of 0 and 1, the same sizes.
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
