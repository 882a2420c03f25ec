"""Polygons, however far they reach, in a form that can be rasterised. Imports no PyTorch.

``pycocotools`` takes memory and time by a polygon's length, in whole numbers of 32 bits: a coordinate of 1e9 takes
gigabytes or crashes. So what is far is cut off first, a little outside the image, where no pixel shows it. A polygon
that is neither far nor long stays as it is. In the others the rasteriser rounds the new corners to a fifth of a
pixel, which moves an edge inside the image by a tenth of a pixel at most.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FAR = 1 << 20
"""Pixels up to which a coordinate, and the length of the whole outline, are left as they are."""
MARGIN = 100
"""Pixels around the image that stay of a polygon that reaches farther."""
_LARGEST = 1e300
"""What larger numbers are taken for, so that every difference is finite."""


def near_image(polygon: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """A polygon (x0, y0, x1, y1, …) itself, or its part near the image if it is far or long.

    The part of a polygon that is not near the image at all is a point outside.
    """
    # No edge is longer than twice the largest coordinate.
    if np.abs(polygon).max(initial=0) <= FAR / max(polygon.size, 1):
        return polygon
    if np.abs(polygon).max() <= FAR and outline_length(polygon) <= FAR:
        return polygon
    low, high = np.array([-MARGIN, -MARGIN]), np.array([width + MARGIN, height + MARGIN])
    points = clip(polygon.reshape(-1, 2).clip(-_LARGEST, _LARGEST), low, high)
    return points.ravel() if len(points) > 2 else np.tile(low.astype(np.float64), 3)


def outline_length(polygon: NDArray[np.float64]) -> float:
    """The length of a polygon's outline in steps from pixel to pixel, of which a diagonal one counts as one."""
    points = polygon.reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def clip(points: NDArray[np.float64], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.float64]:
    """The part of a polygon [N, 2] within a rectangle whose corners [2] are (x, y); it may have no point.

    Parts that are connected outside stay connected, along the rectangle's border.
    """
    for axis in (0, 1):
        points = _cut(points, axis, low[axis], 1)
        points = _cut(points, axis, high[axis], -1)
    return points


def _cut(points: NDArray[np.float64], axis: int, bound: float, side: int) -> NDArray[np.float64]:
    """The part of a polygon [N, 2] on one side of a line (Sutherland and Hodgman, 1974).

    Args:
        points: the corners.
        axis: 0 if the line is x = ``bound``, 1 if it is y = ``bound``.
        bound: where the line is.
        side: 1 keeps what lies above the bound, -1 what lies below.
    """
    inside = side * (points[:, axis] - bound) >= 0
    if inside.all() or not len(points):
        return points
    before, was_inside = np.roll(points, 1, axis=0), np.roll(inside, 1)
    crossed = inside != was_inside
    # From the inner end, which may be near where the outer one is 1e300 away.
    inner = np.where(inside[:, None], points, before)[crossed]
    outer = np.where(inside[:, None], before, points)[crossed]
    share = (bound - inner[:, axis]) / (outer[:, axis] - inner[:, axis])
    corners = inner + share[:, None] * (outer - inner)
    corners[:, axis] = bound
    # Each corner is preceded by the crossing of the edge that leads to it.
    kept = np.stack([crossed, inside], axis=1)
    pairs = np.stack([points, points], axis=1)
    pairs[crossed, 0] = corners
    return pairs[kept]
