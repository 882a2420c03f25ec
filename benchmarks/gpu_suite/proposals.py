"""The RPN's proposals as a chain of PyTorch's operators: the kernel's rival, and in float64 its reference."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from refinemask.modeling.box_coder import clip, decode
from trt_plugins.torch_kernels import TorchKernels

Select = Callable[[list[Tensor], int], Sequence[Sequence[Tensor]]]
"""Chooses the best of each row of matrices: values and indices [B, k] of each matrix."""


def proposals_chain(
    maps: Sequence[Tensor], anchors: Sequence[Tensor], image_sizes: Tensor, k: int, select: Select
) -> tuple[Tensor, Tensor]:
    """The best anchors of each level as boxes, in the anchors' type.

    Args:
        maps: [B, 5A, h, w] of each level, the logits and then the deltas.
        anchors: [h · w · A, 4] of each level.
        image_sizes: [B, 2] (height, width).
        k: proposals of each level; where there are fewer anchors, the rest is padding.
        select: how the best logits are chosen.

    Returns:
        Boxes [5B, k, 4] and scores [5B, k], level after level of each image.
    """
    rows, all_deltas, parts = [], [], []
    for each in maps:
        values, num_anchors = each.permute(0, 2, 3, 1), each.shape[1] // 5
        logits = values[..., :num_anchors].flatten(1).to(anchors[0].dtype)
        rows.append(F.pad(logits, (0, max(k - logits.shape[1], 0)), value=-torch.inf))
        all_deltas.append(values[..., num_anchors:].flatten(1).unflatten(1, (-1, 4)))
    for (logits, index), deltas, references in zip(select(rows, k), all_deltas, anchors, strict=True):
        scores = torch.where(index < len(references), logits.sigmoid(), -1)
        index = index.clamp(max=len(references) - 1)
        chosen = deltas.gather(1, index[..., None].expand(-1, -1, 4)).to(references.dtype)
        parts.append((chosen, references[index], scores))
    deltas, references, scores = (torch.stack(part, dim=1) for part in zip(*parts, strict=True))
    boxes = clip(decode(deltas, references).flatten(1, 2), image_sizes).view_as(deltas)
    return (boxes * (scores >= 0)[..., None]).flatten(0, 1), scores.flatten(0, 1)


def select_by_topk(rows: list[Tensor], k: int) -> Sequence[Sequence[Tensor]]:
    """PyTorch's own selection, with equal values in any order."""
    return [row.topk(k) for row in rows]


def select_by_sort(rows: list[Tensor], k: int) -> Sequence[Sequence[Tensor]]:
    """The exact selection: of equal values the lower index comes first."""
    return [[part[:, :k] for part in row.sort(dim=1, descending=True, stable=True)] for row in rows]


def select_by_kernel(kernels: TorchKernels) -> Select:
    """Our top-k over all levels at once, as compiled engines have it."""

    def select(rows: list[Tensor], k: int) -> Sequence[Sequence[Tensor]]:
        values, indices = kernels.top_k_segments(torch.cat(rows, dim=1), [row.shape[1] for row in rows], k)
        return [*zip(values, indices, strict=True)]

    return select
