"""Arithmetic that reduced precision must not reach."""

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is when it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
