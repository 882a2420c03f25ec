"""``refinemask::top_k``: the largest scores of each row in order, the same ones on every device."""

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
