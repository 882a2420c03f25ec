"""Which ground truth each anchor or proposal answers for, and which of them are trained on."""

from typing import NamedTuple

import torch
from torch import Tensor

NEGATIVE = -1
"""Match of a box that is background."""
IGNORED = -2
"""Match of a box that is not trained on."""


class Sample(NamedTuple):
    """Indices of the boxes chosen for training."""

    positive: Tensor
    """[P] int64 indices of positive boxes."""
    negative: Tensor
    """[N] int64 indices of negative boxes."""


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair of xyxy boxes: [A, 4] and [B, 4] → [A, B].

    The union is floored at 1e-6, so two empty boxes have IoU 0.
    """
    # One plane per axis and in place: at 800 × 1333 there are 270 000 anchors, and this is memory traffic alone.
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b))
    width, height = (
        torch.minimum(a[:, None, axis + 2], b[:, axis + 2]).sub_(torch.maximum(a[:, None, axis], b[:, axis])).clamp_(0)
        for axis in (0, 1)
    )
    intersection = width.mul_(height)
    return intersection / (area_a[:, None] + area_b).sub_(intersection).clamp_(1e-6)


def match(iou: Tensor, positive: float, negative: float, low_quality: float) -> Tensor:
    """Assign boxes to ground truths by their IoU (Faster R-CNN section 3.1.2).

    Args:
        iou: [G, N] of G ground truths and N boxes.
        positive: a box with at least this IoU belongs to its best ground truth.
        negative: a box below this IoU with every ground truth is background.
        low_quality: the boxes with a ground truth's best IoU, if it is at least this, belong to the ground truth in any
            case; where several ground truths claim a box, the last one gets it.

    Returns:
        [N] int64: the index of the ground truth, ``NEGATIVE`` or ``IGNORED``.
    """
    if iou.numel() == 0:
        return iou.new_full((iou.shape[1],), NEGATIVE, dtype=torch.int64)
    best, owner = iou.max(dim=0)
    matches = torch.full_like(owner, IGNORED)
    matches[best < negative] = NEGATIVE
    matches = torch.where(best >= positive, owner, matches)
    best_of_truth = iou.max(dim=1, keepdim=True).values
    truth, box = ((iou == best_of_truth) & (best_of_truth >= low_quality)).nonzero().unbind(1)
    last_claim = torch.full_like(owner, -1).scatter_reduce(0, box, truth, "amax")
    return torch.where(last_claim >= 0, last_claim, matches)


def sample(matches: Tensor, count: int, positive_fraction: float, generator: torch.Generator) -> Sample:
    """Choose at most ``count`` boxes without replacement, at most ``positive_fraction`` of them positive.

    Missing positives are filled up with negatives. Random numbers are drawn on the CPU whatever the device, so a
    seed gives the same sample everywhere.
    """
    positive = _choose(matches >= 0, int(count * positive_fraction), generator)
    negative = _choose(matches == NEGATIVE, count - len(positive), generator)
    return Sample(positive, negative)


def _choose(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    indices = mask.nonzero().squeeze(1)
    if len(indices) <= count:
        return indices
    chosen = torch.randperm(len(indices), generator=generator)[:count].sort().values
    return indices[chosen.to(indices.device)]
