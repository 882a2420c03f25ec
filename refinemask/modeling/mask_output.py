"""What every mask head has in common."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class MaskOutput(NamedTuple):
    """Raw predictions of a mask head."""

    stage_logits: list[Tensor]
    """Per stage [R, 1, s, s], the channel of each RoI's label."""
    semantic_logits: Tensor | None
    """[B, 1, H/4, W/4] class-agnostic foreground, where the head has a semantic branch."""


def label_logits(features: Tensor, predictor: nn.Conv2d, labels: Tensor) -> Tensor:
    """The 1×1 predictor's channel of each RoI's label, and no other: [R, c, s, s] to [R, 1, s, s].

    One dot product per pixel instead of one per class; a predictor with a single channel serves all labels.
    """
    labels = labels.clamp(max=predictor.out_channels - 1)
    weight, bias = predictor.weight.flatten(1)[labels], predictor_bias(predictor)[labels]
    logits = torch.bmm(weight[:, None].to(features.dtype), features.flatten(2)).unflatten(2, features.shape[2:])
    return logits + bias[:, None, None, None].to(features.dtype)


def predictor_bias(predictor: nn.Conv2d) -> Tensor:
    assert predictor.bias is not None
    return predictor.bias


def init_mask_convs(head: nn.Module) -> None:
    """Kaiming normal (fan out, ReLU) weights and zero biases for every convolution."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
