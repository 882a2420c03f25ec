"""Numbers of the configuration in a network's arithmetic."""

from collections.abc import Sequence

import torch
from torch import Tensor


def constant(values: Sequence[float], device: torch.device) -> Tensor:
    """[N] float32 on a device, filled there: a tensor made on the host and copied would make a GPU wait for it."""
    return torch.stack([torch.full((), value, dtype=torch.float32, device=device) for value in values])
