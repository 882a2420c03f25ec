"""From a batch and its ground truth to the detector's losses."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from refinemask.config import TrainConfig
from refinemask.data.training import ImageTargets
from refinemask.modeling.anchors import STRIDES
from refinemask.modeling.box_coder import encode
from refinemask.modeling.detector import Detector
from refinemask.modeling.families import family_of
from refinemask.modeling.losses import rpn_losses
from refinemask.modeling.rpn import RPNOutput, real_boxes
from refinemask.targets.matching import box_iou, match, sample
from refinemask.targets.rois import Supervision

RPN_SAMPLES = 256
"""Number of anchors per image that are trained on."""
RPN_POSITIVE_FRACTION = 0.5
"""Largest share of positive anchors among those of an image."""


class DetectionObjective(nn.Module):
    """:func:`detection_losses` as a module, which is what ``DistributedDataParallel`` wraps."""

    def __init__(self, detector: Detector, config: TrainConfig) -> None:
        super().__init__()
        self.detector = detector
        self.config = config

    def forward(self, images: Tensor, image_sizes: Tensor, targets: Sequence[ImageTargets]) -> dict[str, Tensor]:
        """The weighted loss terms of one batch."""
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
    supervision = Supervision(targets, image_sizes, generators, detector.config.num_classes, config)
    losses = _rpn_terms(rpn_output, anchors, supervision)

    with torch.no_grad():
        rpn = detector.config.rpn
        count = rpn.training_proposals or rpn.proposals
        proposed = detector.rpn.propose(rpn_output, anchors, image_sizes, rpn.training_candidates_per_level, count)
        proposals = real_boxes(proposed)
    family = family_of(detector.config.mask_head)
    heads = detector.context, detector.box_head, detector.mask_head
    return losses | family.losses(*heads, pyramid, proposals, supervision)


def _rpn_terms(output: RPNOutput, anchors: list[Tensor], supervision: Supervision) -> dict[str, Tensor]:
    targets, image_sizes, generators, _, config = supervision
    batch = len(targets)
    logits = torch.cat([x.float().permute(0, 2, 3, 1).reshape(batch, -1) for x in output.logits], dim=1)
    deltas = torch.cat([x.float().permute(0, 2, 3, 1).reshape(batch, -1, 4) for x in output.deltas], dim=1)
    all_anchors = torch.cat(anchors)
    chosen_logits, chosen_deltas, labels, encoded = [], [], [], []
    for index, (target, generator) in enumerate(zip(targets, generators, strict=True)):
        valid = anchors_on_image(output.logits, image_sizes[index])
        if config.anchors_inside:
            valid = valid[_inside(all_anchors[valid], image_sizes[index])]
        matches = match(box_iou(target.boxes, all_anchors[valid]), 0.7, 0.3, 0.3)
        positive, negative = sample(matches, RPN_SAMPLES, RPN_POSITIVE_FRACTION, generator)
        encoded.append(encode(target.boxes[matches[positive]], all_anchors[valid[positive]]))
        chosen_deltas.append(deltas[index, valid[positive]])
        chosen = valid[torch.cat([positive, negative])]
        chosen_logits.append(logits[index, chosen])
        labels.append((torch.arange(len(chosen), device=chosen.device) < len(positive)).float())
    terms = rpn_losses(
        torch.cat(chosen_logits),
        torch.cat(chosen_deltas),
        torch.cat(labels),
        torch.cat(encoded),
        config.rpn_smooth_l1_beta,
    )
    return dict(zip(("rpn_objectness", "rpn_box"), terms, strict=True))


def anchors_on_image(logits: Sequence[Tensor], image_size: Tensor) -> Tensor:
    """Indices of the anchors centred on one image and on its own padding, but not on further padding of the batch.

    Args:
        logits: [B, A, h, w] of each level, of which only the shapes matter.
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


def _inside(boxes: Tensor, image_size: Tensor) -> Tensor:
    """Whether boxes [N, 4] do not cross the border of an image of (height, width) ``image_size`` [2]."""
    return (boxes[:, :2] >= 0).all(dim=1) & (boxes[:, 2:] < image_size.flip(0)).all(dim=1)
