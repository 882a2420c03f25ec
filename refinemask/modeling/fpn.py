"""Feature pyramid network."""

import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import BackboneConfig


class FPN(nn.Module):
    """P2..P6, maps of one width and of strides 4 to 64, from C2..C5."""

    def __init__(self, backbone: BackboneConfig, channels: int) -> None:
        super().__init__()
        widths = [4 * backbone.width << index for index in range(4)]
        self.lateral_convs = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.output_convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        for conv in (*self.lateral_convs, *self.output_convs):
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """Maps [B, c, H/4, W/4] … [B, c, H/64, W/64]."""
        merged = [conv(stage) for conv, stage in zip(self.lateral_convs, stages, strict=True)]
        for level in (2, 1, 0):
            merged[level] = merged[level] + F.interpolate(merged[level + 1], scale_factor=2, mode="nearest")
        pyramid = [conv(x) for conv, x in zip(self.output_convs, merged, strict=True)]
        return [*pyramid, F.max_pool2d(pyramid[-1], 1, stride=2)]
