"""Region proposal network."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import RPNConfig
from refinemask.modeling.anchors import base_anchors, pyramid_anchors
from refinemask.modeling.blocks import bias_of
from refinemask.modeling.select_proposals import best_of_levels, select_proposals
from refinemask.ops import best, fixed_nms
from refinemask.ops.fused import is_fused


class RPNOutput(NamedTuple):
    """The network's raw maps of each level."""

    logits: list[Tensor]
    """Objectness [B, A, h, w] of each level."""
    deltas: list[Tensor]
    """Box deltas [B, 4A, h, w] of each level; channel ``4a + k`` is delta k of anchor a."""
    joint: list[Tensor] | None = None
    """Both in one map [B, 5A, h, w] of each level, which an exported file computes; logits and deltas are its parts."""


class Proposals(NamedTuple):
    """Proposed boxes, best first and padded to a fixed number ``P``; padding has score -1 and a zero box."""

    boxes: Tensor
    """[B, P, 4] (x1, y1, x2, y2) in input pixels."""
    scores: Tensor
    """[B, P] objectness probabilities."""


def real_boxes(proposals: Proposals) -> list[Tensor]:
    """The boxes of each image without padding."""
    return [boxes[scores >= 0] for boxes, scores in zip(proposals.boxes, proposals.scores, strict=True)]


class RPN(nn.Module):
    """One 3×3 convolution and two 1×1 predictors, shared by P2..P6."""

    def __init__(self, channels: int, config: RPNConfig) -> None:
        super().__init__()
        self.config = config
        num_anchors = len(config.anchor_ratios)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls_logits = nn.Conv2d(channels, num_anchors, 1)
        self.bbox_deltas = nn.Conv2d(channels, 4 * num_anchors, 1)
        for conv in (self.conv, self.cls_logits, self.bbox_deltas):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(bias_of(conv))

    def forward(self, pyramid: list[Tensor]) -> RPNOutput:
        """Raw maps of P2..P6."""
        hidden = [F.relu(self.conv(x)) for x in pyramid]
        if is_fused():
            return self._joint_output(hidden)
        return RPNOutput([self.cls_logits(x) for x in hidden], [self.bbox_deltas(x) for x in hidden])

    def _joint_output(self, hidden: list[Tensor]) -> RPNOutput:
        """Both predictors as one convolution, which reads the hidden maps once."""
        predictors = self.cls_logits, self.bbox_deltas
        weight = torch.cat([conv.weight for conv in predictors])
        bias = torch.cat([bias_of(conv) for conv in predictors])
        joint = [F.conv2d(x, weight, bias) for x in hidden]
        channels = [conv.out_channels for conv in predictors]
        logits, deltas = zip(*(x.split(channels, dim=1) for x in joint), strict=True)
        return RPNOutput(list(logits), list(deltas), joint)

    def anchors(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Anchors [N, 4] of each level of ``pyramid``."""
        return pyramid_anchors([(x.shape[2], x.shape[3]) for x in pyramid], self.config, pyramid[0].device)

    def propose(
        self, output: RPNOutput, anchors: list[Tensor], image_sizes: Tensor, candidates: int, count: int
    ) -> Proposals:
        """Decode the best ``candidates`` of each level, suppress within levels, keep the best ``count`` of all.

        No score threshold and no smallest size: degenerate boxes stay (official ``min_bbox_size=0``).
        """
        boxes, scores = self._candidates(output, anchors, image_sizes, candidates)
        num_levels = len(output.logits)
        indices, num_kept = fixed_nms(boxes, scores, self.config.nms_iou, candidates)
        real = torch.arange(candidates, device=boxes.device) < num_kept[:, None]
        scores = torch.where(real, scores.gather(1, indices.long()), -1.0).unflatten(0, (-1, num_levels)).flatten(1)
        boxes = boxes.gather(1, indices.long()[..., None].expand(-1, -1, 4))
        boxes = boxes.unflatten(0, (-1, num_levels)).flatten(1, 2)
        scores, order = best(scores, count)
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        return Proposals(boxes * (scores >= 0)[..., None], scores)

    def _candidates(
        self, output: RPNOutput, anchors: list[Tensor], image_sizes: Tensor, k: int
    ) -> tuple[Tensor, Tensor]:
        """The best boxes [B · L, k, 4] of each image and level, and their scores [B · L, k]."""
        if output.joint is not None:
            base = base_anchors(self.config, image_sizes.device)
            return select_proposals(output.joint, base, image_sizes.float(), k)
        return best_of_levels(output.logits, output.deltas, anchors, image_sizes, k)
