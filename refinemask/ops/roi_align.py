"""``refinemask::multilevel_roi_align``: RoIAlign on the pyramid level that fits each RoI's size."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import roi_align

from refinemask.ops.precision import full_precision

FINEST_STRIDE = 4
FINEST_SCALE = 56
"""RoIs under twice this size are pooled from P2 (official ``finest_scale``)."""


def to_rois(boxes: Tensor) -> Tensor:
    """Boxes [B, N, 4] as RoIs [B · N, 5], each with the index of its image in front."""
    batch, count = boxes.shape[:2]
    index = torch.arange(batch, dtype=boxes.dtype, device=boxes.device)[:, None, None].expand(batch, count, 1)
    return torch.cat([index, boxes], dim=2).flatten(0, 1)


def roi_levels(rois: Tensor, num_levels: int, finest_scale: int) -> Tensor:
    """Pyramid level [R] of each RoI [R, 5]: boxes under twice ``finest_scale`` pixels use level 0 (FPN, eq. 1)."""
    size = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).clamp(min=0).sqrt()
    return torch.log2(size / finest_scale + 1e-6).floor().clamp(0, num_levels - 1).long()


def pool(features: Sequence[Tensor], rois: Tensor, size: int) -> Tensor:
    """RoI features [R, C, size, size] as the official models pool them: adaptive sampling, official ``finest_scale``.

    Args:
        features: P2..P5, or one map of stride 4 that every RoI is pooled from.
        rois: [R, 5] float32, (batch index, x1, y1, x2, y2) in pixels of the network's input.
    """
    return multilevel_roi_align(features, rois, size, 0, FINEST_SCALE)


@torch.library.custom_op("refinemask::multilevel_roi_align", mutates_args=())
def multilevel_roi_align(
    features: Sequence[Tensor], rois: Tensor, output_size: int, sampling_ratio: int, finest_scale: int
) -> Tensor:
    """Pool each RoI from one map of the pyramid.

    Args:
        features: 1 to 4 maps [B, C, H_i, W_i] of any float type; level ``i`` has stride 4 · 2^i.
        rois: [R, 5] float32, (batch index, x1, y1, x2, y2) in pixels of the network's input.
        output_size: ``P``, bins along each axis.
        sampling_ratio: samples per bin and axis; 0 takes ``ceil`` of the bin's size, as the official model does.
        finest_scale: RoIs up to twice this size (square root of the area) are pooled from level 0.

    Returns:
        [R, C, P, P] in the type and memory format of the first map, accumulated in float32. A RoI of zero size gives
        zeros.
    """
    levels = roi_levels(rois, len(features), finest_scale)
    pooled = empty_pooled(features, rois, output_size).zero_()
    for level, feature in enumerate(features):
        index = torch.nonzero(levels == level)[:, 0]
        if index.numel():
            scale = 1 / (FINEST_STRIDE << level)
            feature = full_precision(feature)
            boxes = rois[index].to(feature.dtype)
            crops = roi_align(feature, boxes, output_size, scale, sampling_ratio, aligned=True)
            pooled[index] = crops.to(pooled.dtype)
    return pooled


@multilevel_roi_align.register_fake
def _(features: Sequence[Tensor], rois: Tensor, output_size: int, sampling_ratio: int, finest_scale: int) -> Tensor:
    return empty_pooled(features, rois, output_size)


def empty_pooled(features: Sequence[Tensor], rois: Tensor, output_size: int) -> Tensor:
    """A result of :func:`multilevel_roi_align` [R, C, P, P] without its values.

    Every implementation starts from it, the fake one too: what is compiled ahead of time relies on the fake's strides.
    """
    first = features[0]
    return torch.empty(
        (rois.shape[0], first.shape[1], output_size, output_size),
        dtype=first.dtype,
        device=first.device,
        memory_format=torch.channels_last if has_inner_channels(first) else torch.contiguous_format,
    )


def has_inner_channels(feature: Tensor) -> bool:
    """Whether the channels of a map [B, C, H, W] are neighbours in memory, as in channels-last maps and slices of them.

    A map that is planar as well (one channel, or one cell) counts as planar. Strides of dimensions of size 1 decide
    nothing: compilers change them at will.
    """
    return feature.shape[1] > 1 and not feature.is_contiguous() and feature.stride(1) == 1


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, rois, ctx.output_size, ctx.sampling_ratio, ctx.finest_scale = inputs
    # A gradient laid out unlike its map would make every later sum and convolution copy it.
    layouts = (torch.channels_last, torch.contiguous_format)
    ctx.maps = [(feature.shape, feature.dtype, layouts[feature.is_contiguous()]) for feature in features]
    ctx.save_for_backward(rois)


def _backward(ctx: Any, grad: Tensor) -> tuple[list[Tensor], None, None, None, None]:
    (rois,) = ctx.saved_tensors
    levels = roi_levels(rois, len(ctx.maps), ctx.finest_scale)
    size, ratio = ctx.output_size, ctx.sampling_ratio
    grads = []
    for level, (shape, dtype, layout) in enumerate(ctx.maps):
        index = torch.nonzero(levels == level)[:, 0]
        scale = 1 / (FINEST_STRIDE << level)
        grad_crops = full_precision(grad[index]).contiguous()
        grad_level = torch.ops.torchvision._roi_align_backward(
            grad_crops, rois[index].to(grad_crops.dtype), scale, size, size, *shape, ratio, True
        )
        grads.append(grad_level.to(dtype, memory_format=layout))
    return grads, None, None, None, None


multilevel_roi_align.register_autograd(_backward, setup_context=_setup_context)
