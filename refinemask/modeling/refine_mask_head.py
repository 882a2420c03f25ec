"""RefineMask's mask head (paper section 3; official ``RefineMaskHead``)."""

from collections.abc import Sequence
from typing import NamedTuple

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
from refinemask.modeling.refine_mask_losses import semantic_loss, stage_terms
from refinemask.modeling.roi_window import compute_near_rois
from refinemask.modeling.semantic_fusion import DILATIONS, SemanticFusion
from refinemask.ops import boundary_merge, full_precision, pool, pool_channels, split_channels, upsample_aligned
from refinemask.targets.rois import Positives, Supervision

STAGE_SIZES = (14, 28, 56)
"""Sides of the features that enter the refinement stages."""
LOSS_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
"""Weights of the losses at 14, 28, 56 and 112."""


def merge_stages(stage_logits: list[Tensor]) -> Tensor:
    """The final logits [R, 1, 112, 112], from those at 14, 28, 56 and 112; those at 14 are never used as a mask."""
    merged = stage_logits[1]
    for finer in stage_logits[2:]:
        merged = boundary_merge(merged, finer)
    return merged


class StageFeatures(NamedTuple):
    """The features [R, c, s, s] that enter a stage, not yet put together.

    The whole would be ``cat(upsample(coarse), masks)``. Only 1×1 convolutions read it, and a 1×1 convolution commutes
    with bilinear upsampling. So each is applied to ``coarse``, at a quarter of the pixels, and the whole is never made.
    """

    coarse: Tensor
    """[R, c - 2, s/2, s/2], or with two more channels of zeros; in the first stage [R, c, s, s], taken as it is."""
    masks: Tensor | None
    """[R, 2, s, s] instance and semantic probabilities of the stage before; None in the first stage."""

    def conv(self, weight: Tensor) -> Tensor:
        """The 1×1 convolution with ``weight`` [o, c, 1, 1], without the part that reads the masks."""
        if self.masks is None:
            return F.conv2d(self.coarse, weight)
        return upsample_features(F.conv2d(self.coarse, weight[:, : self.coarse.shape[1]]))

    def predict(self, predictor: LabelPredictor, labels: Tensor) -> Tensor:
        """Logits [R, 1, s, s] float32 of each RoI's label."""
        return predictor(self.coarse, labels, self.masks)


class RefinementStage(nn.Module):
    """Fuse instance features, semantic features and both masks, and hand them on at twice the size."""

    def __init__(self, semantic_channels: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.semantic_transform_in = nn.Conv2d(semantic_channels, channels, 1)
        self.semantic_transform_out = nn.Conv2d(channels, channels, 1)
        self.fuse = nn.Conv2d(2 * channels + 2, channels, 1)
        self.fusion = SemanticFusion(channels, DILATIONS)
        self.transform_out = nn.Conv2d(channels, channels // 2 - 2, 1)

    def forward(
        self, features: StageFeatures, semantic: Tensor, instance_mask: Tensor, semantic_mask: Tensor
    ) -> StageFeatures:
        """The features that enter the next stage, at twice this stage's size ``s``.

        Args:
            features: instance features, at size s.
            semantic: [R, c, s, s] semantic features.
            instance_mask: [R, 1, s, s] probabilities.
            semantic_mask: [R, 1, s, s] probabilities.
        """
        c = self.channels
        semantic = F.relu(self.semantic_transform_out(semantic))
        masks = torch.cat([instance_mask, semantic_mask], dim=1)
        # The fuse convolution is split by what it reads, instead of concatenating 2c + 2 channels.
        weight = self.fuse.weight
        mask_inputs, mask_weight = masks, weight[:, 2 * c :]
        if features.masks is not None:
            mask_inputs = torch.cat([features.masks, masks], dim=1)
            mask_weight = torch.cat([weight[:, c - 2 : c], mask_weight], dim=1)
        of_semantic = F.conv2d(semantic, weight[:, c : 2 * c], self.fuse.bias)
        of_masks = F.conv2d(mask_inputs, mask_weight)
        # What is upsampled comes first in the sum, because runtimes let a convolution add to what is there.
        fused = self.fusion(F.relu(features.conv(weight[:, :c]) + of_masks + of_semantic))
        return StageFeatures(F.relu(self.transform_out(fused)), upsample_aligned(masks))


class RefineMaskHead(nn.Module):
    """Instance branch, semantic branch and three refinement stages, 14 → 28 → 56 → 112."""

    stages: Sequence[RefinementStage]
    instance_logits: Sequence[LabelPredictor]

    def __init__(self, channels: int, num_classes: int, config: RefineMaskConfig) -> None:
        super().__init__()
        self.instance_convs = conv_relus(channels, config.instance_convs)
        self.semantic_convs = conv_relus(channels, config.semantic_convs)
        self.semantic_reach = config.semantic_convs
        self.semantic_logits = nn.Conv2d(channels, 1, 1)
        widths = [channels >> index for index in range(4)]
        self.stages = nn.ModuleList(RefinementStage(channels, width) for width in widths[:3])  # type: ignore[assignment]
        last = 1 if config.class_agnostic_last else num_classes
        self.instance_logits = nn.ModuleList(  # type: ignore[assignment]
            LabelPredictor(width, n) for width, n in zip(widths, (num_classes,) * 3 + (last,), strict=True)
        )
        init_mask_convs(self)

    def forward(
        self,
        pyramid: list[Tensor],
        rois: Tensor,
        labels: Tensor,
        image_maps: list[Tensor] | None = None,
        *,
        whole_map: bool = True,
    ) -> MaskOutput:
        """Logits at 14, 28, 56 and 112 of RoIs [R, 5] with labels [R], from P2..P5.

        The semantic branch is computed here unless :meth:`image_maps` did: on the whole map, or else near the RoIs
        only, which is less work.
        """
        if image_maps is None and whole_map:
            image_maps = self.image_maps(pyramid)
        elif image_maps is None:
            image_maps = compute_near_rois(self.semantic_branch, pyramid[0], rois, self.semantic_reach)
        semantic, logits = image_maps
        return MaskOutput(self.refine(pyramid, semantic, logits, rois, labels), logits)

    def image_maps(self, pyramid: list[Tensor]) -> list[Tensor]:
        """The semantic branch on the whole map."""
        return self.semantic_branch(pyramid[0])

    def predict(
        self, pyramid: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [R, 112, 112]; a semantic branch that is not given is computed around the RoIs only."""
        # An exported graph names a node by the modules whose calls it lies in, and recorded ranges go by these names.
        return merge_stages(self(pyramid, rois, labels, image_maps, whole_map=False).stage_logits).sigmoid()[:, 0]

    def losses(self, pyramid: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        """The losses of all stages, and of the semantic branch on the whole map."""
        semantic, logits = self.image_maps(pyramid)
        stage_logits = self.refine(pyramid, semantic, logits, positives.rois, positives.labels)
        losses = stage_terms(stage_logits, LOSS_WEIGHTS, positives, supervision.targets)
        return losses | {"semantic": semantic_loss(logits, supervision.targets)}

    def semantic_branch(self, p2: Tensor) -> list[Tensor]:
        """What all stages pool, side by side in channels [B, Σ c_k, H/4, W/4], and logits [B, 1, H/4, W/4] float32."""
        hidden = self.semantic_convs(p2)
        # One convolution reads the large map once for all stages. The logits stay apart: with one more channel the map
        # would have no ReLU of its own, and its pixels no whole vectors.
        semantic = F.relu(joint_conv(hidden, [stage.semantic_transform_in for stage in self.stages]))
        return [semantic, full_precision(self.semantic_logits(hidden))]

    def refine(
        self, pyramid: list[Tensor], semantic: Tensor, semantic_logits: Tensor, rois: Tensor, labels: Tensor
    ) -> list[Tensor]:
        """Logits of every stage, from what the semantic branch made, which must hold around the RoIs only."""
        semantic_maps = split_channels(semantic, [stage.channels for stage in self.stages])
        semantic_prob = semantic_logits.sigmoid().to(pyramid[0].dtype)
        features = StageFeatures(self.instance_convs(pool(pyramid[:4], rois, STAGE_SIZES[0])), None)
        stage_logits = []
        for stage, predictor, size, semantic_map in zip(
            self.stages, self.instance_logits, STAGE_SIZES, semantic_maps, strict=False
        ):
            logits = features.predict(predictor, labels)
            stage_logits.append(logits)
            # Every RoI reads the stride-4 map, whatever level its instance features come from.
            pooled = pool_channels(semantic_map, rois, size)
            semantic_mask = pool([semantic_prob], rois, size)
            features = stage(features, pooled, logits.sigmoid().to(pooled.dtype), semantic_mask)
        return [*stage_logits, features.predict(self.instance_logits[-1], labels)]
