"""``refinemask::top_k``: the largest scores of each row in order, the same ones on every device."""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.library.custom_op("refinemask::top_k", mutates_args=())
def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest scores of each row, in descending order; of equal ones the lower index comes first.

    Args:
        scores: [G, N] of any float type. NaN is larger than all else.
        k: results per row, at most N.

    Returns:
        Scores [G, k] and their indices [G, k] int64.
    """
    values, indices = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :k].contiguous(), indices[:, :k].contiguous()


@top_k.register_fake
def _(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return scores.new_empty(scores.shape[0], k), scores.new_empty(scores.shape[0], k, dtype=torch.int64)


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
