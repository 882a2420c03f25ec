"""Hybrid Task Cascade's semantic branch (HTC, section 3.2; official ``FusedSemanticHead``)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import HTCConfig
from refinemask.data.geometry import Bitmap
from refinemask.data.training import ImageTargets
from refinemask.modeling.blocks import conv_relus, init_mask_convs
from refinemask.modeling.losses import average

FUSED_LEVEL, STRIDE = 1, 8
"""Index and stride of P3, at which the levels of the pyramid are summed."""
UNLABELLED = 255
"""Label of unknown pixels in semantic maps, as in COCO-stuff's."""


class SemanticHead(nn.Module):
    """Resize all levels to P3, sum and convolve them, and predict an embedding for the RoI heads and class logits."""

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
        """What :meth:`forward` returns; ``hidden`` is what :meth:`hidden` returned."""
        return [*pyramid, F.relu(self.embedding(hidden))]

    def logits(self, hidden: Tensor) -> Tensor:
        """Class logits [B, S, H/8, W/8], used in training only; ``hidden`` is what :meth:`hidden` returned."""
        return self.predictor(hidden)

    def loss(self, hidden: Tensor, targets: Sequence[ImageTargets]) -> Tensor:
        """The loss of the class logits; ``hidden`` is what :meth:`hidden` returned."""
        logits = self.logits(hidden).float()
        labels = semantic_classes([target.semantic for target in targets], logits.shape[2:])
        return semantic_class_loss(logits, labels.to(logits.device))


def semantic_classes(maps: Sequence[Bitmap | None], size: Sequence[int]) -> Tensor:
    """Class maps of a batch at HTC's semantic resolution.

    Args:
        maps: class map [h, w] of each image, over the valid part of the network's input; None if an image has none.
        size: (height, width) of the semantic logits.

    Returns:
        int64 [B, *size]: the class of the first pixel of each 8×8 cell, and ``UNLABELLED`` in the padding (where the
        official code has class 0).
    """
    labels = torch.full((len(maps), *size), UNLABELLED)
    for plane, labelled in zip(labels, maps, strict=True):
        if labelled is not None:
            cells = torch.from_numpy(labelled[::STRIDE, ::STRIDE].copy())
            plane[: cells.shape[0], : cells.shape[1]] = cells
    return labels


def semantic_class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of HTC's semantic branch; without any labelled pixel it is 0.

    Args:
        logits: [B, S, h, w].
        labels: [B, h, w] int64, ``UNLABELLED`` where unknown.
    """
    total = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return average(total, (labels != UNLABELLED).sum())
