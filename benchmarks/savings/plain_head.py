"""RefineMask's head without any rearrangement, as the official code computes it: what savings are measured against."""

import torch
import torch.nn.functional as F
from torch import Tensor

from refinemask.modeling.blocks import MaskOutput, upsample_features
from refinemask.modeling.refine_mask_head import STAGE_SIZES, RefineMaskHead
from refinemask.ops import pool, upsample_aligned


class PlainRefineMaskHead(RefineMaskHead):
    """Predicts all classes, concatenates what a convolution reads, and convolves after upsampling."""

    def forward(
        self,
        pyramid: list[Tensor],
        rois: Tensor,
        labels: Tensor,
        image_maps: list[Tensor] | None = None,
        *,
        whole_map: bool = True,
    ) -> MaskOutput:
        """As :meth:`RefineMaskHead.forward`; the semantic branch is computed everywhere in any case."""
        semantic_map = self.semantic_convs(pyramid[0])
        semantic_logits = self.semantic_logits(semantic_map)
        semantic_prob = semantic_logits.sigmoid()
        features = self.instance_convs(pool(pyramid[:4], rois, STAGE_SIZES[0]))
        stage_logits = []
        for stage, predictor, size in zip(self.stages, self.instance_logits, STAGE_SIZES, strict=False):
            logits = logits_of_labels(predictor, features, labels)
            stage_logits.append(logits)
            transformed = F.relu(stage.semantic_transform_in(semantic_map))
            pooled = pool([transformed], rois, size)
            pooled = F.relu(stage.semantic_transform_out(pooled))
            semantic_mask = pool([semantic_prob], rois, size)
            masks = torch.cat([logits.sigmoid(), semantic_mask], dim=1)
            fused = stage.fusion(F.relu(stage.fuse(torch.cat([features, pooled, masks], dim=1))))
            upsampled = F.relu(upsample_features(F.relu(stage.transform_out(fused))))
            features = torch.cat([upsampled, upsample_aligned(masks)], dim=1)
        stage_logits.append(logits_of_labels(self.instance_logits[-1], features, labels))
        return MaskOutput(stage_logits, semantic_logits)


def logits_of_labels(predictor: torch.nn.Conv2d, features: Tensor, labels: Tensor) -> Tensor:
    """Logits [R, 1, s, s], chosen after those of all classes were computed."""
    logits = F.conv2d(features, predictor.weight, predictor.bias)
    return logits[torch.arange(len(labels)), labels.clamp(max=logits.shape[1] - 1)][:, None]
