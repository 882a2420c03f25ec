"""Anchors of the region proposal network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from refinemask.config import RPNConfig
from refinemask.ops import constant

STRIDES = (4, 8, 16, 32, 64)
"""Strides of P2..P6 in input pixels."""


def pyramid_anchors(sizes: Sequence[tuple[int, int]], config: RPNConfig, device: torch.device) -> list[Tensor]:
    """Anchors of every level, centred on ``(column · stride, row · stride)`` and not rounded.

    Args:
        sizes: (height, width) of P2..P6.
        config: scale and ratios of the anchors.
        device: where they are needed.

    Returns:
        Per level [h · w · A, 4] float32 (x1, y1, x2, y2) in input pixels, in the order row, column, anchor.
    """
    return [
        place_anchors(_anchors_at_zero(stride, config, device), size, stride)
        for size, stride in zip(sizes, STRIDES, strict=True)
    ]


def base_anchors(config: RPNConfig, device: torch.device) -> Tensor:
    """Anchors [5, A, 4] float32 (x1, y1, x2, y2) of each level around (0, 0), in input pixels."""
    return torch.stack([_anchors_at_zero(stride, config, device) for stride in STRIDES])


def place_anchors(base: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """The anchors ``base`` [A, 4] at each cell of a map of ``size`` (height, width): [h · w · A, 4]."""
    height, width = size
    x = torch.arange(width, dtype=torch.float32, device=base.device) * stride
    y = torch.arange(height, dtype=torch.float32, device=base.device) * stride
    y, x = y[:, None].expand(height, width), x[None, :].expand(height, width)
    return (torch.stack([x, y, x, y], dim=2)[:, :, None] + base).reshape(-1, 4)


def _anchors_at_zero(stride: int, config: RPNConfig, device: torch.device) -> Tensor:
    ratio = constant(config.anchor_ratios, device).sqrt()
    half_w, half_h = 0.5 * config.anchor_scale * stride / ratio, 0.5 * config.anchor_scale * stride * ratio
    return torch.stack([-half_w, -half_h, half_w, half_h], dim=1)
