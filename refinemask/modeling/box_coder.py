"""Boxes as deltas from reference boxes, and back. The width of a box is ``x2 - x1``, without adding one."""

import math

import torch
from torch import Tensor

MAX_LOG_SCALE = abs(math.log(16 / 1000))
"""Largest magnitude of a decoded scale delta."""


def encode(boxes: Tensor, references: Tensor) -> Tensor:
    """Deltas (dx, dy, dw, dh) [..., 4] that turn ``references`` into ``boxes``, both (x1, y1, x2, y2) [..., 4]."""
    centre, size = _centre_size(references)
    target_centre, target_size = _centre_size(boxes)
    return torch.cat([(target_centre - centre) / size, (target_size / size).log()], dim=-1)


def decode(deltas: Tensor, references: Tensor) -> Tensor:
    """Boxes [..., 4], the inverse of :func:`encode`; scale deltas are clamped to ±|ln(16/1000)|."""
    centre, size = _centre_size(references)
    centre = centre + deltas[..., :2] * size
    size = size * deltas[..., 2:].clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE).exp()
    return torch.cat([centre - 0.5 * size, centre + 0.5 * size], dim=-1)


def clip(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Boxes [B, N, 4] cut to ``[0, width] × [0, height]`` of their image; ``image_sizes`` [B, 2] is (height, width)."""
    limit = image_sizes.flip(1).repeat(1, 2)[:, None].to(boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), limit)


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return 0.5 * (low + high), high - low
