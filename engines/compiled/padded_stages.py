"""RefineMask's stages with channels in whole vectors.

A stage hands on two channels less than the next one has, because the masks follow: 126, 62, 30. Convolutions on GPUs
compute such numbers in slower kernels. Two channels of zeros make them whole, and change nothing.
"""

import torch
from torch import nn

from refinemask.modeling.refine_mask_head import RefineMaskHead

VECTOR = 8
"""Channels of a vector of 16 bytes in half precision."""


def pad_stages(mask_head: object) -> None:
    """Give the outputs of the stages' last convolutions two channels of zeros, in place, where that makes them whole.

    Other mask heads stay as they are.
    """
    if isinstance(mask_head, RefineMaskHead):
        for stage in mask_head.stages:
            # The next stage's weights have two more columns, and zeros may stand before no others.
            if (stage.transform_out.out_channels + 2) % VECTOR == 0:
                stage.transform_out = _padded(stage.transform_out)


def _padded(conv: nn.Conv2d) -> nn.Conv2d:
    padded = nn.Conv2d(conv.in_channels, conv.out_channels + 2, 1)
    padded = padded.to(conv.weight).requires_grad_(False)
    for ours, theirs in ((padded.weight, conv.weight), (padded.bias, conv.bias)):
        assert ours is not None
        assert theirs is not None
        ours.copy_(torch.zeros_like(ours))
        ours[: len(theirs)] = theirs
    return padded
