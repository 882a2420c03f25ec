"""The authors' later, faster head for RefineMask (official ``SimpleRefineMaskHead``, config ``…-faster-better``)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import RefineMaskConfig
from refinemask.modeling.blocks import (
    LabelPredictor,
    MaskOutput,
    conv_relus,
    init_mask_convs,
    joint_conv,
    upsample_features,
)
from refinemask.modeling.point_sampling import point_roi_align
from refinemask.modeling.refine_mask_head import STAGE_SIZES, merge_stages
from refinemask.modeling.refine_mask_losses import stage_terms
from refinemask.modeling.roi_window import compute_near_rois
from refinemask.modeling.semantic_fusion import DILATIONS, SemanticFusion
from refinemask.ops import pool, split_channels, upsample_aligned
from refinemask.targets.rois import Positives, Supervision

LOSS_WEIGHTS = (0.5, 0.75, 0.75, 1.0)
"""Weights of the losses at 14, 28, 56 and 112."""


class SimpleRefinementStage(nn.Module):
    """Like :class:`RefinementStage`, but without semantic prediction and with a global average in the fusion."""

    def __init__(self, semantic_channels: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.semantic_transform_in = nn.Conv2d(semantic_channels, channels, 1)
        self.fuse = nn.Conv2d(2 * channels + 1, channels, 1)
        self.fusion = SemanticFusion(channels, DILATIONS, global_average=True)
        self.transform_out = nn.Conv2d(channels, channels // 2 - 1, 1)

    def forward(self, features: Tensor, semantic: Tensor, instance_mask: Tensor) -> Tensor:
        """The features [R, c/2, s, s] that enter the next stage.

        Args:
            features: [R, c, s, s] instance features, or at half that size, from which they are upsampled.
            semantic: [R, c, s, s] semantic features.
            instance_mask: [R, 1, s, s] probabilities.
        """
        c = self.channels
        weight = self.fuse.weight
        incoming = _resize_to(F.conv2d(features, weight[:, :c]), semantic)
        fused = incoming + F.conv2d(semantic, weight[:, c : 2 * c], self.fuse.bias)
        fused = self.fusion(F.relu(fused + F.conv2d(instance_mask, weight[:, 2 * c :])))
        return torch.cat([F.relu(self.transform_out(fused)), instance_mask], dim=1)


class SimpleRefineMaskHead(nn.Module):
    """Instance branch, semantic features and three stages; the last prediction is made at 56 for all classes."""

    stages: Sequence[SimpleRefinementStage]
    instance_logits: Sequence[LabelPredictor]

    def __init__(self, channels: int, num_classes: int, config: RefineMaskConfig) -> None:
        super().__init__()
        self.instance_convs = conv_relus(channels, config.instance_convs)
        self.semantic_convs = conv_relus(channels, config.semantic_convs)
        self.semantic_reach = config.semantic_convs
        widths = [channels >> index for index in range(4)]
        stages = [SimpleRefinementStage(channels, width) for width in widths[:3]]
        self.stages = nn.ModuleList(stages)  # type: ignore[assignment]
        self.instance_logits = nn.ModuleList(  # type: ignore[assignment]
            LabelPredictor(width, n) for width, n in zip(widths, (num_classes,) * 3 + (1,), strict=True)
        )
        init_mask_convs(self)

    def forward(
        self, pyramid: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> MaskOutput:
        """Logits at 14, 28, 56 and 112 of RoIs [R, 5] with labels [R], from P2..P5.

        A semantic branch that :meth:`image_maps` did not compute is computed here, around the RoIs only.
        """
        if image_maps is None:
            image_maps = compute_near_rois(self.semantic_branch, pyramid[0], rois, self.semantic_reach)
        (semantic,) = image_maps
        semantic_maps = split_channels(semantic, [stage.channels for stage in self.stages])
        features = self.instance_convs(pool(pyramid[:4], rois, STAGE_SIZES[0]))
        stage_logits = []
        for stage, predictor, size, semantic_map in zip(
            self.stages, self.instance_logits, STAGE_SIZES, semantic_maps, strict=False
        ):
            pooled = point_roi_align(semantic_map, rois, size)
            # A 1×1 predictor commutes with the upsampling: one channel is resized instead of all.
            logits = _resize_to(predictor(features, labels), pooled)
            stage_logits.append(logits)
            features = stage(features, pooled, logits.sigmoid().to(pooled.dtype))
        stage_logits.append(upsample_aligned(self.instance_logits[-1](features, labels)))
        return MaskOutput(stage_logits, None)

    def image_maps(self, pyramid: list[Tensor]) -> list[Tensor]:
        """The semantic branch on the whole map."""
        return self.semantic_branch(pyramid[0])

    def predict(
        self, pyramid: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [R, 112, 112]."""
        return merge_stages(self(pyramid, rois, labels, image_maps).stage_logits).sigmoid()[:, 0]

    def losses(self, pyramid: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        """The losses of all stages."""
        output = self(pyramid, positives.rois, positives.labels)
        return stage_terms(output.stage_logits, LOSS_WEIGHTS, positives, supervision.targets)

    def semantic_branch(self, p2: Tensor) -> list[Tensor]:
        """The features that all stages pool, side by side in channels [B, Σ c_k, H/4, W/4]."""
        return [F.relu(joint_conv(self.semantic_convs(p2), [stage.semantic_transform_in for stage in self.stages]))]


def _resize_to(x: Tensor, like: Tensor) -> Tensor:
    return x if x.shape[2] == like.shape[2] else upsample_features(x)
