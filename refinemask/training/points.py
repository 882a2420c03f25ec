"""Training of PointRend's point head (PointRend, section 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from refinemask.data.training import ImageTargets
from refinemask.modeling.point_head import COARSE_SIZE, PointRendHead
from refinemask.modeling.point_sampling import sample_points
from refinemask.training.losses import binary_loss
from refinemask.training.rois import Positives, batch_mask_targets
from refinemask.training.targets import point_targets

POINTS = 14 * 14
OVERSAMPLING = 3
UNCERTAIN_SHARE = 0.75


def point_rend_terms(
    head: PointRendHead,
    pyramid: list[Tensor],
    positives: Positives,
    targets: Sequence[ImageTargets],
    generators: Sequence[torch.Generator],
) -> dict[str, Tensor]:
    """The losses of the coarse masks and of points chosen by them."""
    rois, labels, owners = positives
    coarse = head.coarse_head(pyramid[0], rois)
    own = coarse[torch.arange(len(labels), device=labels.device), labels]
    points = torch.cat([choose_points(own[rois[:, 0] == i].detach(), g) for i, g in enumerate(generators)])
    logits = head.point_head(head.point_head.fine_map(pyramid[0]), coarse, rois, points, labels)
    per_image = []
    for index, target in enumerate(targets):
        here = rois[:, 0] == index
        per_image.append(point_targets(target.masks, rois[here, 1:], owners[here], points[here]))
    (masks,) = batch_mask_targets(targets, positives, (COARSE_SIZE,))
    return {
        "mask_coarse": binary_loss(own.float(), masks),
        "mask_points": binary_loss(logits, torch.cat(per_image)),
    }


def choose_points(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Points [P, 196, 2] in [0, 1]², three quarters of them where a coarse mask [P, 7, 7] is most uncertain.

    Those are the best of three times as many random points as are wanted; the uncertainty is that of the sampled
    value, not the sample of an uncertainty. The other quarter is random.
    """
    count = int(UNCERTAIN_SHARE * POINTS)
    # Drawn on the CPU: a seed then gives the same points on every device.
    drawn = torch.rand(len(logits), OVERSAMPLING * POINTS + POINTS - count, 2, generator=generator).to(logits.device)
    candidates, others = drawn.split([OVERSAMPLING * POINTS, POINTS - count], dim=1)
    own_map = torch.arange(len(logits), device=logits.device)
    certainty = sample_points(logits[:, None], own_map, candidates * logits.shape[2])[..., 0].abs()
    chosen = certainty.topk(count, largest=False).indices
    return torch.cat([candidates.gather(1, chosen[..., None].expand(-1, -1, 2)), others], dim=1)
