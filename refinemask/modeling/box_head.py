"""Box head: classification and regression of proposals, and the choice of the final detections."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import BoxHeadConfig, TrainConfig
from refinemask.modeling.boundaries import boundary
from refinemask.modeling.box_coder import clip, decode, encode
from refinemask.modeling.losses import box_losses
from refinemask.modeling.rpn import Proposals
from refinemask.ops import best, constant, fixed_nms, full_precision, pool, to_rois
from refinemask.targets.rois import SampledRoIs

ROI_SIZE = 7


class DetectedBoxes(NamedTuple):
    """Final boxes, best first and padded to a fixed number ``K`` with zeros."""

    boxes: Tensor
    """[B, K, 4] (x1, y1, x2, y2) in input pixels."""
    scores: Tensor
    """[B, K] float32, descending in each image."""
    labels: Tensor
    """[B, K] int64, 0-based."""
    num_detections: Tensor
    """[B] int64, number of real boxes of each image."""


class BoxHead(nn.Module):
    """Two hidden layers; ``num_classes`` + 1 logits (background last) and four deltas per class."""

    def __init__(self, channels: int, num_classes: int, config: BoxHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.fc1 = nn.Linear(channels * ROI_SIZE**2, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.hidden)
        self.cls_logits = nn.Linear(config.hidden, num_classes + 1)
        self.bbox_deltas = nn.Linear(config.hidden, 4 * num_classes)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(self.cls_logits.weight, std=0.01)
        nn.init.normal_(self.bbox_deltas.weight, std=0.001)
        for layer in (self.fc1, self.fc2, self.cls_logits, self.bbox_deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [R, C + 1] and raw deltas [R, 4C] of RoI features [R, c, 7, 7]."""
        hidden = F.relu(self.fc2(F.relu(self.fc1(roi_features.flatten(1)))))
        return self.cls_logits(hidden), self.bbox_deltas(hidden)

    def detect(self, pyramid: list[Tensor], proposals: Proposals, image_sizes: Tensor) -> DetectedBoxes:
        """Classify and refine the proposals from P2..P5, and select the detections."""
        roi_features = pool(pyramid[:4], to_rois(proposals.boxes), ROI_SIZE)
        class_logits, deltas = self(roi_features)
        return self.select(proposals, class_logits, deltas, image_sizes)

    def select(self, proposals: Proposals, class_logits: Tensor, deltas: Tensor, image_sizes: Tensor) -> DetectedBoxes:
        """The best detections of each image after class-wise NMS.

        NMS runs in input pixels: IoU is the same after scaling both axes, so this equals the official NMS in
        pixels of the original image.

        Args:
            proposals: P per image.
            class_logits: [B · P, C + 1].
            deltas: [B · P, 4C], normalised by ``delta_std``.
            image_sizes: [B, 2] valid (height, width).
        """
        class_logits, deltas = boundary("class_logits", class_logits), boundary("box_deltas", deltas)
        config, num_classes = self.config, self.num_classes
        batch, num_proposals = proposals.scores.shape
        scores = full_precision(class_logits).softmax(1)[:, :-1].reshape(batch, num_proposals, num_classes)
        eligible = (scores > config.score_threshold) & (proposals.scores >= 0)[..., None]
        scores = torch.where(eligible, scores, -1.0).flatten(1)
        scores, index = best(scores, min(config.candidates, num_proposals * num_classes))
        labels = index % num_classes
        references = _gather_boxes(proposals.boxes, index // num_classes)
        deltas = _gather_boxes(full_precision(deltas).reshape(batch, -1, 4), index)
        boxes = clip(decode(deltas * constant(config.delta_std, deltas.device), references), image_sizes)
        apart = boxes + _class_offsets(labels, num_classes, image_sizes)
        kept, num_kept = fixed_nms(apart, scores, config.nms_iou, config.detections)
        kept = kept.long()
        real = torch.arange(config.detections, device=kept.device) < num_kept[:, None]
        return DetectedBoxes(
            _gather_boxes(boxes, kept) * real[..., None],
            torch.where(real, scores.gather(1, kept), 0.0),
            torch.where(real, labels.gather(1, kept), 0),
            num_kept.long(),
        )

    def losses(
        self, predictions: tuple[Tensor, Tensor], sampled: SampledRoIs, config: TrainConfig
    ) -> dict[str, Tensor]:
        """The weighted losses of the sampled RoIs; ``predictions`` is what :meth:`forward` returned for them."""
        class_logits, deltas = predictions
        std = sampled.boxes.new_tensor(self.config.delta_std)
        encoded = encode(sampled.boxes, sampled.positives.rois[:, 1:]) / std
        terms = box_losses(class_logits.float(), deltas.float(), sampled.labels, encoded, config.smooth_l1_beta)
        return {name: config.box_loss_weight * term for name, term in zip(("box_class", "box_box"), terms, strict=True)}


def _gather_boxes(boxes: Tensor, index: Tensor) -> Tensor:
    return boxes.gather(1, index[..., None].expand(-1, -1, 4))


def _class_offsets(labels: Tensor, num_classes: int, image_sizes: Tensor) -> Tensor:
    """Shifts [B, N, 4] that keep boxes of different classes apart.

    Classes are laid out on a square: in a row of 1203 classes, float32 coordinates would be 0.125 px coarse.
    """
    side = math.ceil(math.sqrt(num_classes))
    extent = image_sizes.float().amax(1, keepdim=True) + 1
    x, y = (labels % side).float() * extent, (labels // side).float() * extent
    return torch.stack([x, y, x, y], dim=-1)
