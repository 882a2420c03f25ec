"""The losses of Hybrid Task Cascade's stages (HTC, section 3.3; official ``HybridTaskCascadeRoIHead``)."""

from torch import Tensor

from refinemask.modeling.box_head import ROI_SIZE
from refinemask.modeling.cascade import CascadeBoxHead, CascadeMaskHead, ClassAgnosticBoxHead, pool_with_embedding
from refinemask.modeling.semantic_head import SemanticHead
from refinemask.targets.rois import SampledRoIs, Supervision, sample_rois

STAGE_WEIGHTS = (1.0, 0.5, 0.25)
"""Weight of each stage's losses."""
STAGE_IOUS = (0.5, 0.6, 0.7)
"""IoU from which on a proposal is positive, by stage."""
SEMANTIC_WEIGHT = 0.2


def cascade_losses(
    context: SemanticHead,
    box_head: CascadeBoxHead,
    mask_head: CascadeMaskHead,
    pyramid: list[Tensor],
    proposals: list[Tensor],
    supervision: Supervision,
) -> dict[str, Tensor]:
    """The weighted losses of the semantic branch and of every box and mask stage.

    A mask stage learns on boxes that its box stage has just refined and that are sampled anew. So does the next box
    stage.

    Args:
        pyramid: P2..P6.
        proposals: [N, 4] per image.
    """
    hidden = context.hidden(pyramid)
    features = context.embed(pyramid, hidden)
    losses = {"semantic": SEMANTIC_WEIGHT * context.loss(hidden, supervision.targets)}
    for stage, (head, weight, iou) in enumerate(zip(box_head.heads, STAGE_WEIGHTS, STAGE_IOUS, strict=True)):
        sampled = sample_rois(proposals, supervision, iou)
        class_logits, deltas = head(pool_with_embedding(features, sampled.rois, ROI_SIZE))
        terms = head.losses((class_logits, deltas), sampled, supervision.config)
        proposals = _refine(head, sampled, deltas.detach(), supervision.image_sizes)
        positives = sample_rois(proposals, supervision, iou).positives
        terms["mask"] = mask_head.stage_loss(stage, features, positives, supervision.targets)
        losses |= {f"stage{stage}_{name}": weight * term for name, term in terms.items()}
    return losses


def _refine(head: ClassAgnosticBoxHead, sampled: SampledRoIs, deltas: Tensor, image_sizes: Tensor) -> list[Tensor]:
    """The refined boxes of each image, without ground truths, because the next sampling adds these again."""
    refined = []
    for index in range(len(image_sizes)):
        own = (sampled.rois[:, 0] == index) & ~sampled.is_truth
        refined.append(head.refine(sampled.rois[None, own, 1:], deltas[own], image_sizes[index : index + 1])[0])
    return refined
