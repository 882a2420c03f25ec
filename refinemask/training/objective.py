"""From a batch and its ground truth to the detector's losses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from refinemask.config import FCNMaskConfig, RefineMaskConfig, TrainConfig
from refinemask.data.training import ImageTargets
from refinemask.files import UserError
from refinemask.modeling.anchors import STRIDES
from refinemask.modeling.box_coder import encode
from refinemask.modeling.box_head import ROI_SIZE
from refinemask.modeling.detector import Detector
from refinemask.modeling.refine_mask_head import FINEST_SCALE
from refinemask.modeling.rpn import Proposals, RPNOutput
from refinemask.ops import multilevel_roi_align
from refinemask.training.losses import STAGE_WEIGHTS, binary_loss, box_losses, refine_mask_losses, rpn_losses
from refinemask.training.matching import box_iou, match, sample
from refinemask.training.targets import mask_targets, semantic_target

RPN_SAMPLES = 256
RPN_POSITIVE_FRACTION = 0.5
REFINE_SIZES = (14, 28, 56, 112)


class SampledRoIs(NamedTuple):
    """The proposals a batch is trained on, positives of an image before its negatives."""

    rois: Tensor
    """[R, 5] (batch index, x1, y1, x2, y2)."""
    labels: Tensor
    """[R] int64, the number of classes for background."""
    owners: Tensor
    """[R] index of the ground truth within its image, -1 for background."""
    boxes: Tensor
    """[P, 4] ground-truth boxes of the positives, in row order."""


class DetectionObjective(nn.Module):
    """:func:`detection_losses` as a module, which is what ``DistributedDataParallel`` wraps."""

    def __init__(self, detector: Detector, config: TrainConfig) -> None:
        super().__init__()
        self.detector = detector
        self.config = config

    def forward(self, images: Tensor, image_sizes: Tensor, targets: Sequence[ImageTargets]) -> dict[str, Tensor]:
        return detection_losses(self.detector, images, image_sizes, targets, self.config)


def detection_losses(
    detector: Detector, images: Tensor, image_sizes: Tensor, targets: Sequence[ImageTargets], config: TrainConfig
) -> dict[str, Tensor]:
    """The weighted loss terms of one batch; their sum is what training minimises.

    Args:
        images: uint8 [B, 3, H, W], padded.
        image_sizes: int64 [B, 2] valid (height, width).
        targets: one per image, on the device of ``images``.
    """
    generators = [torch.Generator().manual_seed(target.seed) for target in targets]
    pyramid = detector.pyramid(detector.normalize(images, image_sizes))
    rpn_output = detector.rpn(pyramid)
    anchors = detector.rpn.anchors(pyramid)
    losses = _rpn_terms(rpn_output, anchors, image_sizes, targets, generators)

    with torch.no_grad():
        candidates = detector.config.rpn.training_candidates_per_level
        proposals = detector.rpn.propose(rpn_output, anchors, image_sizes, candidates)
        sampled = sample_rois(proposals, targets, detector.config.num_classes, config, generators)
    losses |= _box_terms(detector, pyramid, sampled, config)
    losses |= _mask_terms(detector, pyramid, sampled, images, targets)
    return losses


def _rpn_terms(
    output: RPNOutput,
    anchors: list[Tensor],
    image_sizes: Tensor,
    targets: Sequence[ImageTargets],
    generators: Sequence[torch.Generator],
) -> dict[str, Tensor]:
    batch = len(targets)
    logits = torch.cat([x.float().permute(0, 2, 3, 1).reshape(batch, -1) for x in output.logits], dim=1)
    deltas = torch.cat([x.float().permute(0, 2, 3, 1).reshape(batch, -1, 4) for x in output.deltas], dim=1)
    all_anchors = torch.cat(anchors)
    chosen_logits, chosen_deltas, labels, encoded = [], [], [], []
    for index, (target, generator) in enumerate(zip(targets, generators, strict=True)):
        valid = anchors_on_image(output.logits, image_sizes[index])
        matches = match(box_iou(target.boxes, all_anchors[valid]), 0.7, 0.3, 0.3)
        positive, negative = sample(matches, RPN_SAMPLES, RPN_POSITIVE_FRACTION, generator)
        encoded.append(encode(target.boxes[matches[positive]], all_anchors[valid[positive]]))
        chosen_deltas.append(deltas[index, valid[positive]])
        chosen = valid[torch.cat([positive, negative])]
        chosen_logits.append(logits[index, chosen])
        labels.append((torch.arange(len(chosen), device=chosen.device) < len(positive)).float())
    terms = rpn_losses(*(torch.cat(x) for x in (chosen_logits, chosen_deltas, labels, encoded)))
    return dict(zip(("rpn_objectness", "rpn_box"), terms, strict=True))


def anchors_on_image(logits: Sequence[Tensor], image_size: Tensor) -> Tensor:
    """Indices of the anchors centred on one image, padded for itself; the batch's further padding has none.

    Args:
        logits: [B, A, h, w] per level, for the shapes alone.
        image_size: [2] valid (height, width).
    """
    height, width = ((image_size + 31) // 32 * 32).tolist()
    masks = []
    for level, stride in zip(logits, STRIDES, strict=True):
        _, num_anchors, rows, columns = level.shape
        mask = torch.zeros((rows, columns, num_anchors), dtype=torch.bool, device=level.device)
        mask[: -(-height // stride), : -(-width // stride)] = True
        masks.append(mask.flatten())
    return torch.cat(masks).nonzero().squeeze(1)


def sample_rois(
    proposals: Proposals,
    targets: Sequence[ImageTargets],
    num_classes: int,
    config: TrainConfig,
    generators: Sequence[torch.Generator],
) -> SampledRoIs:
    """Choose ``config.rois_per_image`` of each image's proposals, its ground truths put in front of them."""
    rois, labels, owners, truths = [], [], [], []
    for index, (target, generator) in enumerate(zip(targets, generators, strict=True)):
        boxes = torch.cat([target.boxes, proposals.boxes[index, proposals.scores[index] >= 0]])
        matches = match(box_iou(target.boxes, boxes), 0.5, 0.5, 0.5)
        positive, negative = sample(matches, config.rois_per_image, config.positive_fraction, generator)
        owner = matches[positive]
        chosen = boxes[torch.cat([positive, negative])]
        rois.append(torch.cat([chosen.new_full((len(chosen), 1), index), chosen], dim=1))
        labels.append(torch.cat([target.labels[owner], owner.new_full((len(negative),), num_classes)]))
        owners.append(torch.cat([owner, torch.full_like(negative, -1)]))
        truths.append(target.boxes[owner])
    return SampledRoIs(*(torch.cat(x) for x in (rois, labels, owners, truths)))


def _box_terms(
    detector: Detector, pyramid: list[Tensor], sampled: SampledRoIs, config: TrainConfig
) -> dict[str, Tensor]:
    class_logits, deltas = detector.box_head(multilevel_roi_align(pyramid[:4], sampled.rois, ROI_SIZE, 0, FINEST_SCALE))
    positive = sampled.owners >= 0
    std = sampled.boxes.new_tensor(detector.config.box_head.delta_std)
    encoded = encode(sampled.boxes, sampled.rois[positive, 1:]) / std
    terms = box_losses(class_logits.float(), deltas.float(), sampled.labels, encoded, config.smooth_l1_beta)
    return {name: config.box_loss_weight * term for name, term in zip(("box_class", "box_box"), terms, strict=True)}


def _mask_terms(
    detector: Detector, pyramid: list[Tensor], sampled: SampledRoIs, images: Tensor, targets: Sequence[ImageTargets]
) -> dict[str, Tensor]:
    head = detector.config.mask_head
    positive = sampled.owners >= 0
    rois, owners = sampled.rois[positive], sampled.owners[positive]
    output = detector.mask_head(pyramid, rois, sampled.labels[positive])
    stage_logits = [logits.float() for logits in output.stage_logits]
    if isinstance(head, FCNMaskConfig):
        (masks,) = _batch_mask_targets(targets, rois, owners, (28,))
        return {"mask": binary_loss(stage_logits[0], masks[:, None])}
    if not isinstance(head, RefineMaskConfig):
        raise UserError(f"a mask head of kind {head.kind!r} cannot be trained here, only evaluated")
    stages = refine_mask_losses(stage_logits, _batch_mask_targets(targets, rois, owners, REFINE_SIZES))
    weights = STAGE_WEIGHTS[head.variant]
    losses = {f"mask_{n}": w * x for n, w, x in zip(REFINE_SIZES, weights, stages, strict=True)}
    if output.semantic_logits is not None:
        logits = output.semantic_logits.float()
        union = semantic_target([target.masks for target in targets], images.shape[-2:], logits.shape[-2:])
        losses["semantic"] = binary_loss(logits, union.to(images.device))
    return losses


def _batch_mask_targets(
    targets: Sequence[ImageTargets], rois: Tensor, owners: Tensor, sizes: Sequence[int]
) -> list[Tensor]:
    """:func:`mask_targets` of all images, in the order of ``rois`` [P, 5]."""
    per_image = []
    for index, target in enumerate(targets):
        own = rois[:, 0] == index
        per_image.append(mask_targets(target.masks, rois[own, 1:], owners[own], sizes))
    return [torch.cat(size) for size in zip(*per_image, strict=True)]
