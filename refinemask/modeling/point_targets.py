"""The points at which PointRend's point head learns, and their targets (PointRend, section 3.2)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from refinemask.data.geometry import Bitmap, Polygons
from refinemask.modeling.point_sampling import sample_points
from refinemask.targets.mask_targets import rasterise

POINTS = 14 * 14
"""Number of points per RoI."""
OVERSAMPLING = 3
UNCERTAIN_SHARE = 0.75


def choose_points(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Points [P, 196, 2] in [0, 1]², three quarters of them where a coarse mask [P, 7, 7] is most uncertain.

    The uncertain points are the best of three times 196 random ones. Uncertainty is that of the sampled logit, not a
    sample of an uncertainty map. The other quarter of the points is random.
    """
    count = int(UNCERTAIN_SHARE * POINTS)
    # Drawn on the CPU: a seed then gives the same points on every device.
    drawn = torch.rand(len(logits), OVERSAMPLING * POINTS + POINTS - count, 2, generator=generator).to(logits.device)
    candidates, others = drawn.split([OVERSAMPLING * POINTS, POINTS - count], dim=1)
    own_map = torch.arange(len(logits), device=logits.device)
    certainty = sample_points(logits[:, None], own_map, candidates * logits.shape[2])[..., 0].abs()
    chosen = certainty.topk(count, largest=False).indices
    return torch.cat([candidates.gather(1, chosen[..., None].expand(-1, -1, 2)), others], dim=1)


def point_targets(masks: Sequence[Polygons | Bitmap], boxes: Tensor, owners: Tensor, points: Tensor) -> Tensor:
    """How much of each point lies on its RoI's instance: bilinear values of the bitmap, between 0 and 1.

    Args:
        masks: the ground-truth instances of one image.
        boxes: [P, 4] RoIs on that image, xyxy.
        owners: [P] index of each RoI's instance.
        points: [P, N, 2] (x, y) relative to the RoI.

    Returns:
        float32 [P, N], on the device of ``boxes``.
    """
    boxes, owners = boxes.detach().float(), owners.cpu()
    places = (boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])).cpu()
    values = torch.zeros(places.shape[:2])
    for owner in owners.unique().tolist():
        rows = (owners == owner).nonzero().squeeze(1)
        bitmap = _bitmap(masks[owner])
        pixels = torch.from_numpy(bitmap.copy()).float()[None, None]
        values[rows] = sample_points(pixels, torch.zeros_like(rows), places[rows])[..., 0]
    return values.to(boxes.device)


def _bitmap(mask: Polygons | Bitmap) -> Bitmap:
    """The mask as a bitmap, no larger than it needs to be."""
    if isinstance(mask, np.ndarray):
        return mask
    width, height = np.ceil(np.concatenate(mask).reshape(-1, 2).max(axis=0)).astype(int) + 1
    return rasterise(mask, int(height), int(width))
