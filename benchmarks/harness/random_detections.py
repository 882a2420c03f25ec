"""Random masks and boxes as a detector gives them, where no detector is needed."""

import numpy as np
import torch
from torch import Tensor


def random_detections(
    count: int, height: int, width: int, *, mask_size: int, box_share: float = 0.1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """One image's detections.

    Args:
        count: number of detections.
        height: height of the image in pixels.
        width: width of the image in pixels.
        mask_size: side M of the masks.
        box_share: mean share of the image that a box covers before it is clipped.
        seed: seed of masks and boxes.

    Returns:
        Probabilities [count, M, M] of star-shaped masks with soft edges, and boxes [count, 4] (x1, y1, x2, y2) of
        log-normal size anywhere in the image.
    """
    rng = np.random.default_rng(seed)
    axis = (np.arange(mask_size) + 0.5) / mask_size * 2 - 1
    angle, radius = np.arctan2(axis[:, None], axis), np.hypot(axis[:, None], axis)
    waves = np.array([2, 3, 5, 8])
    amplitudes, phases = rng.normal(0, 0.25 / waves, (count, 4)), rng.uniform(0, 2 * np.pi, (count, 4))
    outline = 0.8 + sum(
        amplitudes[:, k, None, None] * np.cos(waves[k] * angle + phases[:, k, None, None]) for k in range(4)
    )
    masks = torch.from_numpy((outline - radius) * 20).sigmoid().float()

    area = height * width * box_share * rng.lognormal(-0.32, 0.8, count)
    ratio = np.exp(rng.normal(0, 0.4, count))
    size = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1)
    limit = np.array([width, height])
    centre = rng.uniform(0, 1, (count, 2)) * limit
    corners = np.stack([centre - size / 2, centre + size / 2], axis=1).clip(0, limit)
    return masks, torch.from_numpy(corners.reshape(count, 4)).float()
