"""Hybrid Task Cascade's box and mask stages (HTC, sections 3.1 and 3.2; official ``HybridTaskCascadeRoIHead``)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import BoxHeadConfig, FCNMaskConfig, HTCConfig
from refinemask.data.training import ImageTargets
from refinemask.modeling.blocks import MaskOutput, init_mask_convs
from refinemask.modeling.boundaries import boundary
from refinemask.modeling.box_coder import clip, decode
from refinemask.modeling.box_head import ROI_SIZE as BOX_ROI_SIZE
from refinemask.modeling.box_head import BoxHead, DetectedBoxes
from refinemask.modeling.fcn_mask_head import ROI_SIZE as MASK_ROI_SIZE
from refinemask.modeling.fcn_mask_head import FCNMaskHead
from refinemask.modeling.rpn import Proposals
from refinemask.ops import constant, full_precision, pool, to_rois
from refinemask.targets.rois import Positives

SEMANTIC_ROI_SIZE = 14


def pool_with_embedding(features: list[Tensor], rois: Tensor, size: int) -> Tensor:
    """RoI features [R, c, size, size] of the pyramid, plus those of the semantic embedding.

    Args:
        features: P2..P6 and the embedding [B, c, H/8, W/8].
        rois: [R, 5] in input pixels.
        size: side of the RoI features, 7 or 14.
    """
    # For a single map the operator assumes stride 4. The embedding has stride 8, so the boxes are halved.
    halved = rois * constant([1, 0.5, 0.5, 0.5, 0.5], rois.device)
    semantic = pool(features[-1:], halved, SEMANTIC_ROI_SIZE)
    pooled = pool(features[:4], rois, size)
    return pooled + F.avg_pool2d(semantic, SEMANTIC_ROI_SIZE // size)


class ClassAgnosticBoxHead(BoxHead):
    """A box head that regresses one box for all classes."""

    def __init__(self, channels: int, num_classes: int, config: BoxHeadConfig) -> None:
        super().__init__(channels, num_classes, config)
        self.bbox_deltas = nn.Linear(config.hidden, 4)
        nn.init.normal_(self.bbox_deltas.weight, std=0.001)
        nn.init.zeros_(self.bbox_deltas.bias)

    def forward(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [R, C + 1] and raw deltas [R, 4C], which are the same for every class."""
        class_logits, deltas = super().forward(roi_features)
        return class_logits, deltas.repeat(1, self.num_classes)

    def refine(self, boxes: Tensor, deltas: Tensor, image_sizes: Tensor) -> Tensor:
        """Boxes [B, P, 4], moved by their deltas [B · P, 4C] and cut to the images."""
        shared = full_precision(deltas)[:, :4].reshape(boxes.shape)
        return clip(decode(shared * constant(self.config.delta_std, shared.device), boxes), image_sizes)


class CascadeBoxHead(nn.Module):
    """Box heads in a row, each of which refines the boxes of the previous head."""

    def __init__(self, channels: int, num_classes: int, config: BoxHeadConfig, cascade: HTCConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            ClassAgnosticBoxHead(channels, num_classes, replace(config, delta_std=std)) for std in cascade.delta_stds
        )

    @property
    def heads(self) -> list[ClassAgnosticBoxHead]:
        """The box heads of all stages."""
        return cast(list[ClassAgnosticBoxHead], list(self.stages))

    def detect(self, features: list[Tensor], proposals: Proposals, image_sizes: Tensor) -> DetectedBoxes:
        """Select the detections, by the mean of all stages' class logits and the boxes of the last stage."""
        *others, last = self.heads
        stages_logits = []
        for index, stage in enumerate(others):
            class_logits, deltas = stage(pool_with_embedding(features, to_rois(proposals.boxes), BOX_ROI_SIZE))
            stages_logits.append(class_logits)
            refined = boundary(f"refined_{index}", stage.refine(proposals.boxes, deltas, image_sizes))
            proposals = Proposals(refined, proposals.scores)
        class_logits, deltas = last(pool_with_embedding(features, to_rois(proposals.boxes), BOX_ROI_SIZE))
        mean = torch.stack([full_precision(x) for x in (*stages_logits, class_logits)]).mean(0)
        return last.select(proposals, mean, deltas, image_sizes)


class CascadeMaskHead(nn.Module):
    """Mask heads in a row, each of which adds the features of the previous head to the pooled ones."""

    def __init__(self, channels: int, num_classes: int, config: HTCConfig) -> None:
        super().__init__()
        stage = FCNMaskConfig(convs=config.convs)
        self.stages = nn.ModuleList(FCNMaskHead(channels, num_classes, stage) for _ in config.delta_stds)
        self.flow = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in config.delta_stds[1:])
        init_mask_convs(self.flow)

    @property
    def heads(self) -> list[FCNMaskHead]:
        """The mask heads of all stages."""
        return cast(list[FCNMaskHead], list(self.stages))

    def forward(self, features: list[Tensor], rois: Tensor, labels: Tensor) -> MaskOutput:
        """Logits [R, 1, 28, 28] of every stage, for RoIs [R, 5] with labels [R]."""
        hidden = self.hidden(pool_with_embedding(features, rois, MASK_ROI_SIZE))
        return MaskOutput([head.logits(x, labels) for head, x in zip(self.heads, hidden, strict=True)], None)

    def image_maps(self, features: list[Tensor]) -> list[Tensor]:
        """Nothing: masks read the features alone."""
        return []

    def predict(
        self, features: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [R, 28, 28], the mean over all stages."""
        return torch.stack([x.sigmoid() for x in self(features, rois, labels).stage_logits]).mean(0)[:, 0]

    def hidden(self, roi_features: Tensor, stages: int | None = None) -> list[Tensor]:
        """Features [R, c, 14, 14] of the first ``stages`` stages (all, if not given)."""
        first, *others = self.heads[:stages]
        hidden = [first.hidden(roi_features)]
        for head, flow in zip(others, self.flow, strict=False):
            hidden.append(head.hidden(roi_features + F.relu(flow(hidden[-1]))))
        return hidden

    def stage_loss(
        self, stage: int, features: list[Tensor], positives: Positives, targets: Sequence[ImageTargets]
    ) -> Tensor:
        """The loss of one stage's masks."""
        hidden = self.hidden(pool_with_embedding(features, positives.rois, MASK_ROI_SIZE), stages=stage + 1)
        return self.heads[stage].loss(hidden[-1], positives, targets)
