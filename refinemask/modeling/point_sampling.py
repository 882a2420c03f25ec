"""Values of feature maps at points: one bilinear sample each, zeros outside the map."""

import torch.nn.functional as F
from torch import Tensor

from refinemask.ops import MapChannels, constant, pool_channels


def point_roi_align(maps: MapChannels, rois: Tensor, output_size: int) -> Tensor:
    """A bilinear sample at each bin's centre, with zeros outside the map (PointRend's "simple RoIAlign").

    RoIAlign with one sample repeats the map's rim where PointRend's fades to zero; a rim of zeros makes them equal.

    Args:
        maps: the channels that are pooled.
        rois: [R, 5] in input pixels.

    Returns:
        [R, c, output_size, output_size] in the map's type.
    """
    stride = 4
    shift = constant([0, stride, stride, stride, stride], rois.device)
    padded = maps._replace(feature=F.pad(maps.feature, (1, 1, 1, 1)))
    return pool_channels(padded, rois + shift, output_size, sampling_ratio=1)


def sample_points(maps: Tensor, index: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of points on maps, by arithmetic and gathers that every runtime has.

    Args:
        maps: [N, C, h, w].
        index: [R] int64, the map of each row of points.
        points: [R, P, 2] float32 (x, y) in pixels of the map, whose first pixel has its centre at (0.5, 0.5).

    Returns:
        [R, P, C] in the maps' type.
    """
    height, width = maps.shape[2] + 2, maps.shape[3] + 2
    pixels = F.pad(maps, (1, 1, 1, 1)).permute(0, 2, 3, 1).flatten(0, 2)
    # On the padded map, whose rim is zero, nothing beyond the rim has to be read.
    x = (points[..., 0] + 0.5).clamp(0, width - 1)
    y = (points[..., 1] + 0.5).clamp(0, height - 1)
    left, top = x.floor().clamp(max=width - 2), y.floor().clamp(max=height - 2)
    right_share, lower_share = (x - left)[..., None].to(maps.dtype), (y - top)[..., None].to(maps.dtype)
    corner = (index[:, None] * height + top.long()) * width + left.long()

    def row(start: Tensor) -> Tensor:
        ends = [pixels.index_select(0, place.flatten()).unflatten(0, points.shape[:2]) for place in (start, start + 1)]
        return ends[0] + right_share * (ends[1] - ends[0])

    upper = row(corner)
    return upper + lower_share * (row(corner + width) - upper)
