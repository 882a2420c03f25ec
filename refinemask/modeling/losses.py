"""Loss terms that several heads share; each is a sum over the samples, divided by their number."""

import torch
from torch import Tensor
from torch.nn import functional as F

from refinemask.distributed import mean_over_ranks


def average(total: Tensor, count: Tensor | int) -> Tensor:
    """``total / count``, where ``count`` is averaged over all processes.

    So processes that average their gradients agree with a single process on the joint batch.
    """
    count = torch.as_tensor(count, dtype=torch.float32, device=total.device)
    return total / mean_over_ranks(count).clamp(min=1)


def rpn_losses(
    logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, smooth_l1_beta: float | None = None
) -> tuple[Tensor, Tensor]:
    """Objectness and box loss over the sampled anchors of the batch.

    Args:
        logits: [N] of the sampled anchors.
        deltas: [P, 4] of the positive anchors.
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
        deltas: [R, 4C]; only those of the RoI's own class enter the loss.
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
