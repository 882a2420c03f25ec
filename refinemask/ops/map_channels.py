"""RoIAlign on some channels of a map, which an exported file reads in place.

Several convolutions that read the same map are one, whose results lie side by side in channels. PyTorch pools from
views of them. A graph would have to copy them apart, so there RoIAlign itself takes the channels.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from refinemask.ops.fused import is_fused
from refinemask.ops.roi_align import FINEST_SCALE, multilevel_roi_align


class MapChannels(NamedTuple):
    """A map of stride 4, or some of its channels."""

    feature: Tensor
    """[B, C, H/4, W/4]."""
    begin: int = 0
    """The first of the channels."""
    channels: int = 0
    """How many there are; 0 is all of the map's."""


def split_channels(joint: Tensor, widths: Sequence[int]) -> list[MapChannels]:
    """The parts of a map [B, Σ widths, H/4, W/4], which lie side by side in channels."""
    if is_fused():
        return [MapChannels(joint, end - width, width) for width, end in zip(widths, accumulate(widths), strict=True)]
    return [MapChannels(part) for part in joint.split(list(widths), dim=1)]


def pool_channels(maps: MapChannels, rois: Tensor, size: int, sampling_ratio: int = 0) -> Tensor:
    """RoI features [R, c, size, size], as :func:`refinemask.ops.multilevel_roi_align` pools them from a map alone.

    Args:
        maps: the channels.
        rois: [R, 5] float32, (batch index, x1, y1, x2, y2) in pixels of the network's input.
        size: bins along each axis.
        sampling_ratio: samples per bin and axis; 0 takes ``ceil`` of the bin's size.
    """
    feature, begin, channels = maps
    if channels:
        return roi_align_channels(feature, rois, begin, channels, size, sampling_ratio, FINEST_SCALE)
    return multilevel_roi_align([feature], rois, size, sampling_ratio, FINEST_SCALE)


@torch.library.custom_op("refinemask::roi_align_channels", mutates_args=())
def roi_align_channels(
    feature: Tensor,
    rois: Tensor,
    channel_begin: int,
    channels: int,
    output_size: int,
    sampling_ratio: int,
    finest_scale: int,
) -> Tensor:
    """:func:`refinemask.ops.multilevel_roi_align` from channels ``channel_begin`` to ``channel_begin + channels``."""
    part = feature.narrow(1, channel_begin, channels)
    return multilevel_roi_align([part], rois, output_size, sampling_ratio, finest_scale)


@roi_align_channels.register_fake
def _(feature: Tensor, rois: Tensor, channel_begin: int, channels: int, output_size: int, *_: int) -> Tensor:
    return feature.new_empty(rois.shape[0], channels, output_size, output_size)
