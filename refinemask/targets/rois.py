"""The second stage's share of a batch: which proposals are trained on, and the masks of the positive ones."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from refinemask.config import TrainConfig
from refinemask.data.training import ImageTargets
from refinemask.targets.mask_targets import mask_targets
from refinemask.targets.matching import box_iou, match, sample


class Supervision(NamedTuple):
    """What the heads learn a batch from."""

    targets: Sequence[ImageTargets]
    """Ground truth of each image."""
    image_sizes: Tensor
    """[B, 2] int64 valid (height, width)."""
    generators: Sequence[torch.Generator]
    """Random generators, one per image and on the CPU, that decide what is sampled."""
    num_classes: int
    """Number of classes, without background."""
    config: TrainConfig
    """Configuration of the training."""


class Positives(NamedTuple):
    """The RoIs that belong to an object."""

    rois: Tensor
    """[P, 5] (batch index, x1, y1, x2, y2)."""
    labels: Tensor
    """[P] int64."""
    owners: Tensor
    """[P] index of the ground truth within its image."""


class SampledRoIs(NamedTuple):
    """The proposals a batch is trained on, positives of an image before its negatives."""

    rois: Tensor
    """[R, 5] (batch index, x1, y1, x2, y2)."""
    labels: Tensor
    """[R] int64, the number of classes for background."""
    owners: Tensor
    """[R] index of the ground truth within its image, -1 for background."""
    is_truth: Tensor
    """[R] whether a RoI is itself a ground-truth box."""
    boxes: Tensor
    """[P, 4] ground-truth boxes of the positives, in row order."""

    @property
    def positives(self) -> Positives:
        """The RoIs that belong to an object."""
        positive = self.owners >= 0
        return Positives(self.rois[positive], self.labels[positive], self.owners[positive])


def sample_rois(proposals: Sequence[Tensor], supervision: Supervision, iou: float = 0.5) -> SampledRoIs:
    """Choose ``config.rois_per_image`` of each image's proposals [N, 4], its ground truths put in front of them.

    Args:
        proposals: [N, 4] of each image, xyxy in input pixels.
        supervision: ground truth and configuration.
        iou: from this overlap on, a proposal is positive.
    """
    config, images = supervision.config, []
    per_image = zip(proposals, supervision.targets, supervision.generators, strict=True)
    for index, (own, target, generator) in enumerate(per_image):
        boxes = torch.cat([target.boxes, own])
        matches = match(box_iou(target.boxes, boxes), iou, iou, iou)
        positive, negative = sample(matches, config.rois_per_image, config.positive_fraction, generator)
        owner, chosen = matches[positive], torch.cat([positive, negative])
        images.append(
            SampledRoIs(
                torch.cat([boxes.new_full((len(chosen), 1), index), boxes[chosen]], dim=1),
                torch.cat([target.labels[owner], owner.new_full((len(negative),), supervision.num_classes)]),
                torch.cat([owner, torch.full_like(negative, -1)]),
                chosen < len(target.boxes),
                target.boxes[owner],
            )
        )
    return SampledRoIs(*(torch.cat(parts) for parts in zip(*images, strict=True)))


def batch_mask_targets(targets: Sequence[ImageTargets], positives: Positives, sizes: Sequence[int]) -> list[Tensor]:
    """:func:`mask_targets` of all images, one [P, n, n] per size, in the order of the positives."""
    per_image = []
    with torch.profiler.record_function("mask targets"):
        for index, target in enumerate(targets):
            own = positives.rois[:, 0] == index
            per_image.append(mask_targets(target.masks, positives.rois[own, 1:], positives.owners[own], sizes))
    return [torch.cat(size) for size in zip(*per_image, strict=True)]
