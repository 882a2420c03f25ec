"""Hybrid Task Cascade's semantic branch (HTC, section 3.2; official ``FusedSemanticHead``)."""

import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import HTCConfig
from refinemask.modeling.blocks import conv_relus, init_mask_convs

FUSED_LEVEL = 1
"""The pyramid is brought together at P3, stride 8."""


class SemanticHead(nn.Module):
    """All levels, resized to P3 and summed, then convolutions; an embedding for the RoI heads, and class logits."""

    def __init__(self, channels: int, config: HTCConfig) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(5))
        self.convs = conv_relus(channels, config.convs)
        self.embedding = nn.Conv2d(channels, channels, 1)
        self.predictor = nn.Conv2d(channels, config.semantic_classes, 1)
        init_mask_convs(self)

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """P2..P6 and, behind them, the embedding [B, c, H/8, W/8]."""
        return self.embed(pyramid, self.hidden(pyramid))

    def hidden(self, pyramid: list[Tensor]) -> Tensor:
        """The fused map [B, c, H/8, W/8] of P2..P6."""
        size = pyramid[FUSED_LEVEL].shape[2:]
        fused = F.relu(self.lateral_convs[FUSED_LEVEL](pyramid[FUSED_LEVEL]))
        for level, (conv, x) in enumerate(zip(self.lateral_convs, pyramid, strict=True)):
            if level != FUSED_LEVEL:
                fused = fused + F.relu(conv(F.interpolate(x, size=size, mode="bilinear", align_corners=True)))
        return self.convs(fused)

    def embed(self, pyramid: list[Tensor], hidden: Tensor) -> list[Tensor]:
        """What :meth:`forward` returns, of what :meth:`hidden` returned."""
        return [*pyramid, F.relu(self.embedding(hidden))]

    def logits(self, hidden: Tensor) -> Tensor:
        """Class logits [B, S, H/8, W/8] of what :meth:`hidden` returned; only training has use for them."""
        return self.predictor(hidden)
