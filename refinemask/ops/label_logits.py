"""``refinemask::label_logits`` and ``refinemask::upsampled_label_logits``: the logits of each RoI's label alone.

A 1×1 convolution would compute the logits of all classes. Here each RoI has one dot product per pixel, with the row of
weights of its own label.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from refinemask.ops.fused import is_fused
from refinemask.ops.precision import full_precision


def logits_of_labels(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """Logits of each RoI's label at each pixel of its features.

    Args:
        features: [R, C, s, s] of any float type.
        weight: [n, C], a row for each class; a single row serves every label.
        bias: [n].
        labels: [R] class indices.

    Returns:
        [R, 1, s, s] in float32, or in float64 if the features are.
    """
    if is_fused():
        return label_logits(features, weight, bias, labels.int())
    return _label_logits(features, weight, bias, labels)


def logits_of_upsampled(coarse: Tensor, masks: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """Logits of each RoI's label from features that are ``cat(upsample(coarse), masks)``, which is never made.

    A linear map of the channels commutes with the upsampling, which is bilinear with half-pixel centres: one channel is
    resized instead of all.

    Args:
        coarse: [R, C, s, s] of any float type.
        masks: [R, M, 2s, 2s] of that type.
        weight: [n, C + M], a row for each class; a single row serves every label. It may have fewer columns if the
            coarse features end with channels of zeros.
        bias: [n].
        labels: [R] class indices.

    Returns:
        [R, 1, 2s, 2s] in float32, or in float64 if the features are.
    """
    if is_fused():
        return upsampled_label_logits(coarse, masks, weight, bias, labels.int())
    return _upsampled_label_logits(coarse, masks, weight, bias, labels)


def project(features: Tensor, weight: Tensor) -> Tensor:
    """A linear map of its own for each RoI: features [R, c, s, s], weight [R, 1, c], result [R, 1, s, s]."""
    return torch.bmm(weight.to(features.dtype), features.flatten(2)).unflatten(2, features.shape[2:])


def label_rows(weight: Tensor, bias: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [R, 1, c] and biases [R, 1, 1, 1] of the labels [R]."""
    labels = labels.clamp(max=weight.shape[0] - 1)
    return weight[labels][:, None], bias[labels][:, None, None, None]


def _label_logits(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    row, bias = label_rows(weight, bias, labels)
    return full_precision(project(features, row) + bias)


def _upsampled_label_logits(coarse: Tensor, masks: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    row, bias = label_rows(weight, bias, labels)
    own = project(coarse, row[..., : coarse.shape[1]])
    upsampled = F.interpolate(own, scale_factor=2, mode="bilinear", align_corners=False)
    return full_precision(upsampled + project(masks, row[..., -masks.shape[1] :]) + bias)


@torch.library.custom_op("refinemask::label_logits", mutates_args=())
def label_logits(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """:func:`logits_of_labels` as one operator, with labels in int32."""
    return _label_logits(features, weight, bias, labels)


@label_logits.register_fake
def _(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    return _empty_logits(features)


@torch.library.custom_op("refinemask::upsampled_label_logits", mutates_args=())
def upsampled_label_logits(coarse: Tensor, masks: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """:func:`logits_of_upsampled` as one operator, with labels in int32 and a weight of exactly C + M columns."""
    return _upsampled_label_logits(coarse, masks, weight, bias, labels)


@upsampled_label_logits.register_fake
def _(coarse: Tensor, masks: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    return _empty_logits(masks)


def _empty_logits(features: Tensor) -> Tensor:
    """A result for features [R, c, s, s], without its values."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    return features.new_empty((features.shape[0], 1, *features.shape[2:]), dtype=dtype)
