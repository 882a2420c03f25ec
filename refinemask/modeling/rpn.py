"""Region proposal network."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import RPNConfig
from refinemask.modeling.anchors import pyramid_anchors
from refinemask.modeling.blocks import bias_of
from refinemask.modeling.box_coder import clip, decode
from refinemask.ops import fixed_nms, full_precision


class RPNOutput(NamedTuple):
    """The network's raw maps of each level."""

    logits: list[Tensor]
    """Objectness [B, A, h, w] of each level."""
    deltas: list[Tensor]
    """Box deltas [B, 4A, h, w] of each level; channel ``4a + k`` is delta k of anchor a."""


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
        return RPNOutput([self.cls_logits(x) for x in hidden], [self.bbox_deltas(x) for x in hidden])

    def anchors(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Anchors [N, 4] of each level of ``pyramid``."""
        return pyramid_anchors([(x.shape[2], x.shape[3]) for x in pyramid], self.config, pyramid[0].device)

    def propose(
        self, output: RPNOutput, anchors: list[Tensor], image_sizes: Tensor, candidates: int, count: int
    ) -> Proposals:
        """Decode the best ``candidates`` of each level, suppress within levels, keep the best ``count`` of all.

        No score threshold and no smallest size: degenerate boxes stay (official ``min_bbox_size=0``).
        """
        levels = [
            self._candidates(logits, deltas, level, candidates)
            for logits, deltas, level in zip(output.logits, output.deltas, anchors, strict=True)
        ]
        # All levels at once, because on a GPU each of these small steps costs a launch.
        deltas, references, scores = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
        boxes = clip(decode(deltas, references), image_sizes).reshape(-1, candidates, 4)  # [B · L, k, 4]
        scores = scores.reshape(-1, candidates)
        indices, num_kept = fixed_nms(boxes, scores, self.config.nms_iou, candidates)
        real = torch.arange(candidates, device=boxes.device) < num_kept[:, None]
        scores = torch.where(real, scores.gather(1, indices.long()), -1.0).unflatten(0, (-1, len(levels))).flatten(1)
        boxes = boxes.gather(1, indices.long()[..., None].expand(-1, -1, 4))
        boxes = boxes.unflatten(0, (-1, len(levels))).flatten(1, 2)
        scores, order = scores.topk(count)
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        return Proposals(boxes * (scores >= 0)[..., None], scores)

    def _candidates(self, logits: Tensor, deltas: Tensor, anchors: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Deltas and anchors [B, k, 4] of a level's best ``k``, and their scores [B, k]."""
        scores = full_precision(logits).sigmoid().permute(0, 2, 3, 1).flatten(1)
        deltas = full_precision(deltas).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4))
        # Padding with negative scores keeps k the same on levels with fewer anchors.
        scores, index = F.pad(scores, (0, k), value=-1.0).topk(k)
        index = index.clamp(max=anchors.shape[0] - 1)
        return deltas.gather(1, index[..., None].expand(-1, -1, 4)), anchors[index], scores
