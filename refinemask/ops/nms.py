"""``refinemask::fixed_nms``: exact greedy NMS with a fixed number of results."""

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("refinemask::fixed_nms", mutates_args=())
def fixed_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression in each group on its own.

    Args:
        boxes: [G, N, 4] float32, (x1, y1, x2, y2).
        scores: [G, N] float32; a negative score marks padding, which is never kept and suppresses nothing.
        iou_threshold: a box is suppressed when its IoU with a better kept one is above this.
        k: results per group.

    Returns:
        Indices of the kept boxes [G, k] int32 in descending order of score (the lower index first where scores are
        equal), padded with 0; and the number of kept boxes [G] int32.
    """
    indices = torch.zeros(boxes.shape[0], k, dtype=torch.int32, device=boxes.device)
    num_kept = torch.zeros(boxes.shape[0], dtype=torch.int32, device=boxes.device)
    for group in range(boxes.shape[0]):
        real = torch.nonzero(scores[group] >= 0)[:, 0]
        kept = real[nms(boxes[group, real], scores[group, real], iou_threshold)[:k]]
        indices[group, : len(kept)] = kept.int()
        num_kept[group] = len(kept)
    return indices, num_kept


@fixed_nms.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> tuple[Tensor, Tensor]:
    groups = boxes.shape[0]
    return boxes.new_empty(groups, k, dtype=torch.int32), boxes.new_empty(groups, dtype=torch.int32)
