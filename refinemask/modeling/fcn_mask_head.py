"""Mask R-CNN's mask head."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import FCNMaskConfig
from refinemask.data.training import ImageTargets
from refinemask.modeling.blocks import LabelPredictor, MaskOutput, init_mask_convs
from refinemask.modeling.losses import binary_loss
from refinemask.ops import pool
from refinemask.ops.fused import is_fused
from refinemask.targets.rois import Positives, Supervision, batch_mask_targets

ROI_SIZE, MASK_SIZE = 14, 28


class Upsampling(nn.ConvTranspose2d):
    """A transposed convolution that doubles the size, and a ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 2, stride=2)

    def forward(self, features: Tensor) -> Tensor:  # type: ignore[override]
        """[R, c, 2s, 2s] from [R, c, s, s]."""
        if not is_fused() or features.dtype != torch.bfloat16:
            return F.relu(super().forward(features))
        # TensorRT 11 has no transposed convolution in bfloat16. 2×2 weights with stride 2 never meet in a pixel, so
        # this is a 1×1 convolution, whose channels are the four pixels that come of one. Only TensorRT runs bfloat16;
        # ONNX Runtime would be slower at it.
        assert self.bias is not None
        weight = self.weight.permute(1, 2, 3, 0).flatten(0, 2)[..., None, None]
        pixels = F.relu(F.conv2d(features, weight, self.bias.repeat_interleave(4)))
        return F.pixel_shuffle(pixels, 2)


class FCNMaskHead(nn.Module):
    """Convolutions at 14×14, one transposed convolution, masks of 28×28."""

    def __init__(self, channels: int, num_classes: int, config: FCNMaskConfig) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(config.convs))
        self.upsample = Upsampling(channels)
        self.predictor = LabelPredictor(channels, num_classes)
        init_mask_convs(self)

    def forward(self, pyramid: list[Tensor], rois: Tensor, labels: Tensor) -> MaskOutput:
        """Logits [R, 1, 28, 28] of RoIs [R, 5] with labels [R]."""
        hidden = self.hidden(pool(pyramid[:4], rois, ROI_SIZE))
        return MaskOutput([self.logits(hidden, labels)], None)

    def hidden(self, roi_features: Tensor) -> Tensor:
        """Features [R, c, 14, 14] after the convolutions, from RoI features of the same shape."""
        for conv in self.convs:
            roi_features = F.relu(conv(roi_features))
        return roi_features

    def logits(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Logits [R, 1, 28, 28] float32 of the labels [R]."""
        return self.predictor(self.upsample(hidden), labels)

    def image_maps(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Nothing: masks read the features alone."""
        return []

    def predict(
        self, pyramid: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [R, 28, 28]."""
        return self(pyramid, rois, labels).stage_logits[-1].sigmoid()[:, 0]

    def losses(self, pyramid: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        """The loss of the masks."""
        hidden = self.hidden(pool(pyramid[:4], positives.rois, ROI_SIZE))
        return {"mask": self.loss(hidden, positives, supervision.targets)}

    def loss(self, hidden: Tensor, positives: Positives, targets: Sequence[ImageTargets]) -> Tensor:
        """The loss of the masks; ``hidden`` is what :meth:`hidden` returned for the positives."""
        logits = self.logits(hidden, positives.labels).float()
        (masks,) = batch_mask_targets(targets, positives, (MASK_SIZE,))
        return binary_loss(logits, masks[:, None])
