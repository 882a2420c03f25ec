"""Building blocks that several heads share."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.ops import logits_of_labels, logits_of_upsampled


class MaskOutput(NamedTuple):
    """Raw predictions of a mask head."""

    stage_logits: list[Tensor]
    """Logits [R, 1, s, s] float32 of each stage, for the label of each RoI."""
    semantic_logits: Tensor | None
    """Logits [B, 1, H/4, W/4] float32 of class-agnostic foreground; None if the head has no semantic branch."""


def bias_of(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """The bias of a layer that has one."""
    assert layer.bias is not None
    return layer.bias


class LabelPredictor(nn.Conv2d):
    """A 1×1 convolution that computes only the channel of each RoI's label.

    This takes one dot product per pixel instead of one per class. A predictor with a single channel serves every label.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes, 1)

    def forward(  # type: ignore[override]
        self, features: Tensor, labels: Tensor, masks: Tensor | None = None
    ) -> Tensor:
        """Logits [R, 1, s, s] float32 for the labels [R].

        Args:
            features: [R, c, s, s], or with masks [R, c, s/2, s/2], to be upsampled.
            labels: [R] class indices.
            masks: [R, m, s, s], the last channels of what is predicted from.
        """
        weight, bias = self.weight.flatten(1), bias_of(self)
        if masks is None:
            return logits_of_labels(features, weight, bias, labels)
        return logits_of_upsampled(features, masks, weight, bias, labels)


def joint_conv(x: Tensor, convs: Sequence[nn.Conv2d]) -> Tensor:
    """Several 1×1 convolutions of one map as one, their channels side by side."""
    return F.conv2d(x, torch.cat([conv.weight for conv in convs]), torch.cat([bias_of(conv) for conv in convs]))


def conv_relus(channels: int, count: int) -> nn.Sequential:
    """``count`` 3×3 convolutions of one width, each followed by a ReLU."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def upsample_features(x: Tensor) -> Tensor:
    """Features [R, c, s, s] at twice the size, [R, c, 2s, 2s]: bilinear, with half-pixel centres."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def init_mask_convs(head: nn.Module) -> None:
    """Set Kaiming normal weights (fan out, ReLU) and zero biases, in place; predictors start near zero.

    The official code treats predictors like the other convolutions, but a predictor's fan-out is the number of classes:
    with one class the first logits are in the tens, and training from scratch does not recover (official issue 23).
    """
    for module in head.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if isinstance(module, LabelPredictor) or module.out_channels == 1:
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
