"""Training of Hybrid Task Cascade's stages (HTC, section 3.3; official ``HybridTaskCascadeRoIHead``)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from refinemask.config import TrainConfig
from refinemask.data.training import ImageTargets
from refinemask.modeling.box_head import ROI_SIZE as BOX_ROI_SIZE
from refinemask.modeling.cascade import CascadeBoxHead, CascadeMaskHead, ClassAgnosticBoxHead, pool_with_embedding
from refinemask.modeling.detector import Detector
from refinemask.modeling.fcn_mask_head import ROI_SIZE as MASK_ROI_SIZE
from refinemask.modeling.semantic_head import SemanticHead
from refinemask.training.losses import binary_loss, semantic_class_loss
from refinemask.training.rois import Positives, SampledRoIs, batch_mask_targets, box_terms, sample_rois
from refinemask.training.targets import semantic_classes

STAGE_WEIGHTS = (1.0, 0.5, 0.25)
STAGE_IOUS = (0.5, 0.6, 0.7)
SEMANTIC_WEIGHT = 0.2
MASK_SIZE = 28


def cascade_terms(
    detector: Detector,
    pyramid: list[Tensor],
    proposals: list[Tensor],
    image_sizes: Tensor,
    targets: Sequence[ImageTargets],
    config: TrainConfig,
    generators: Sequence[torch.Generator],
) -> dict[str, Tensor]:
    """The weighted losses of the semantic branch and of every box and mask stage.

    A mask stage learns on the boxes that its box stage has just refined, chosen anew; so does the next box stage.

    Args:
        proposals: [N, 4] per image.
    """
    context, box_head, mask_head = detector.context, detector.box_head, detector.mask_head
    assert isinstance(context, SemanticHead)
    assert isinstance(box_head, CascadeBoxHead)
    assert isinstance(mask_head, CascadeMaskHead)
    hidden = context.hidden(pyramid)
    features = context.embed(pyramid, hidden)
    logits = context.logits(hidden).float()
    labels = semantic_classes([target.semantic for target in targets], logits.shape[2:]).to(logits.device)
    losses = {"semantic": SEMANTIC_WEIGHT * semantic_class_loss(logits, labels)}
    num_classes = detector.config.num_classes
    for index, (head, weight, iou) in enumerate(zip(box_head.heads, STAGE_WEIGHTS, STAGE_IOUS, strict=True)):
        sampled = sample_rois(proposals, targets, num_classes, config, generators, iou)
        class_logits, deltas = head(pool_with_embedding(features, sampled.rois, BOX_ROI_SIZE))
        terms = box_terms(head, (class_logits, deltas), sampled, config)
        proposals = _refine(head, sampled, deltas.detach(), image_sizes)
        positives = sample_rois(proposals, targets, num_classes, config, generators, iou).positives
        terms["mask"] = _mask_loss(mask_head, index, features, positives, targets)
        losses |= {f"stage{index}_{name}": weight * term for name, term in terms.items()}
    return losses


def _refine(head: ClassAgnosticBoxHead, sampled: SampledRoIs, deltas: Tensor, image_sizes: Tensor) -> list[Tensor]:
    """The refined boxes of each image; ground truths leave, they will be put in front again."""
    refined = []
    for index in range(len(image_sizes)):
        own = (sampled.rois[:, 0] == index) & ~sampled.is_truth
        refined.append(head.refine(sampled.rois[None, own, 1:], deltas[own], image_sizes[index : index + 1])[0])
    return refined


def _mask_loss(
    head: CascadeMaskHead, stage: int, features: list[Tensor], positives: Positives, targets: Sequence[ImageTargets]
) -> Tensor:
    hidden = head.hidden(pool_with_embedding(features, positives.rois, MASK_ROI_SIZE), stages=stage + 1)
    logits = head.heads[stage].logits(hidden[-1], positives.labels)
    (masks,) = batch_mask_targets(targets, positives, (MASK_SIZE,))
    return binary_loss(logits.float(), masks[:, None])
