"""``refinemask::boundary_merge``: boundary-aware refinement (paper section 3.3) of one stage by the next."""

import torch
import torch.nn.functional as F
from torch import Tensor


def boundary_map(mask: Tensor, width: int) -> Tensor:
    """The pixels of a 0/1 mask [R, 1, n, n] that lie within ``width`` of its boundary, as 0/1.

    A pixel is boundary when more than a tenth of the (2·width + 1)² window around it differs from it. The window is
    zero outside the map, so foreground on the rim is boundary, and background on the rim is not (official
    ``generate_block_target``).
    """
    window = 2 * width + 1
    share = F.avg_pool2d(mask, window, stride=1, padding=width, count_include_pad=True)
    return ((mask - share).abs() > 0.1).to(mask.dtype)


def upsample_aligned(x: Tensor) -> Tensor:
    """Masks [R, C, n, n] at twice the size, bilinear with aligned corners, to join those of the next stage."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _boundary_merge(coarse: Tensor, fine: Tensor) -> Tensor:
    boundary = boundary_map((coarse.sigmoid() >= 0.5).to(coarse.dtype), width=1)
    # The upsampled map comes within 4e-5 of 0.5, so it must be float32, whatever the type of the rest.
    interior = upsample_aligned(1 - boundary) >= 0.5
    return torch.where(interior, upsample_aligned(coarse), fine)


@torch.library.custom_op("refinemask::boundary_merge", mutates_args=())
def boundary_merge(coarse: Tensor, fine: Tensor) -> Tensor:
    """Take the finer stage's logits at the boundary of the coarser mask, the coarser stage's elsewhere.

    Args:
        coarse: [R, 1, n, n] float32 logits, refined so far.
        fine: [R, 1, 2n, 2n] float32 logits of the next stage.

    Returns:
        [R, 1, 2n, 2n] float32 logits.
    """
    return _boundary_merge(coarse, fine)


@boundary_merge.register_fake
def _(coarse: Tensor, fine: Tensor) -> Tensor:
    return torch.empty_like(fine)
