"""Computing a map only where RoIs read it."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE = 4


def compute_near_rois(compute: Callable[[Tensor], list[Tensor]], p2: Tensor, rois: Tensor, reach: int) -> list[Tensor]:
    """``compute(p2)`` in one window around all RoIs, and zero outside it.

    RoIs read the same values as in the whole map, up to the order of sums, because the window extends ``reach`` pixels
    beyond them. A traced graph has one shape only, so it computes the whole map.

    Args:
        compute: function from maps [B, C, h, w] to lists of maps [B, D, h, w].
        p2: [B, C, H/4, W/4].
        rois: [R, 5] in input pixels; there may be none.
        reach: distance in map pixels of the farthest pixel that a result of ``compute`` depends on.
    """
    if torch.compiler.is_compiling():
        return compute(p2)
    height, width = p2.shape[2:]
    x1, y1, x2, y2 = [*rois[:, 1:3].amin(0).tolist(), *rois[:, 3:].amax(0).tolist()] if len(rois) else [0] * 4
    left, right = _span(x1, x2, width, reach)
    top, bottom = _span(y1, y2, height, reach)
    near = compute(p2[:, :, top:bottom, left:right])
    return [F.pad(each, (left, width - right, top, height - bottom)) for each in near]


def _span(low: float, high: float, size: int, reach: int) -> tuple[int, int]:
    """The first pixel, and the one past the last, that samples from ``low`` to ``high`` in input pixels depend on."""
    # A bilinear sample reads the pixels on both its sides.
    first = min(max(math.floor(low / STRIDE) - 1 - reach, 0), size - 1)
    return first, max(min(math.floor(high / STRIDE) + 2 + reach, size), first + 1)
