"""``refinemask::top_k``: the largest scores of each row in order, the same ones on every device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from refinemask.ops.fused import is_fused


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """:func:`top_k`, which in the graph of an exported file is :func:`top_scores`."""
    if not is_fused():
        return top_k(scores, k)
    values, indices = top_scores(scores, k)
    return values, indices.long()


@torch.library.custom_op("refinemask::top_k", mutates_args=())
def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest scores of each row, in descending order; of equal ones the lower index comes first.

    Args:
        scores: [G, N] of any float type. NaN is larger than all else.
        k: results per row, at most N.

    Returns:
        Scores [G, k] and their indices [G, k] int64.
    """
    if scores.dtype == torch.float64:
        indices = scores.sort(dim=1, descending=True, stable=True).indices[:, :k].contiguous()
    else:
        last = scores.shape[1] - 1
        # PyTorch's own top-k decides ties as it likes, but it is much faster than its stable sort.
        indices = last - (_unique_keys(scores).topk(k).values & 0xFFFFFFFF)
    return scores.gather(1, indices), indices


@top_k.register_fake
def _(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return scores.new_empty(scores.shape[0], k), scores.new_empty(scores.shape[0], k, dtype=torch.int64)


def _unique_keys(scores: Tensor) -> Tensor:
    """Integers [G, N] in the order of the scores, the lower index being the larger of equal ones.

    The upper 32 bits are those of a float32, of which the bits of a negative one are turned round. The lower 32 bits
    are the index, counted from the end.
    """
    # Adding zero makes the negative zero positive.
    bits = (scores.float() + 0.0).view(torch.int32)
    ordered = torch.where(scores.isnan(), 0x7FFFFFFF, bits ^ ((bits >> 31) & 0x7FFFFFFF))
    return (ordered.long() << 32) | torch.arange(scores.shape[1] - 1, -1, -1, device=scores.device)


@torch.library.custom_op("refinemask::top_scores", mutates_args=())
def top_scores(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """:func:`top_k` of float32 scores [G, N], with indices [G, k] int32."""
    values, indices = top_k(scores, k)
    return values, indices.int()


@top_scores.register_fake
def _(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return scores.new_empty(scores.shape[0], k), scores.new_empty(scores.shape[0], k, dtype=torch.int32)


@torch.library.custom_op("refinemask::top_k_segments", mutates_args=())
def top_k_segments(scores: Tensor, lengths: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    """:func:`top_k` of each segment of each row.

    Args:
        scores: [G, N] of any float type. A row consists of segments one behind the other.
        lengths: scores of each of the S segments, N together.
        k: results per segment, at most the length of the shortest.

    Returns:
        Scores [S, G, k], so that those of a segment lie together, and their indices within the segment [S, G, k] int64.
    """
    values, indices = zip(*(top_k(part, k) for part in scores.split(list(lengths), dim=1)), strict=True)
    return torch.stack(values), torch.stack(indices)


@top_k_segments.register_fake
def _(scores: Tensor, lengths: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    shape = len(lengths), scores.shape[0], k
    return scores.new_empty(shape), scores.new_empty(shape, dtype=torch.int64)
