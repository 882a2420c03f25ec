"""Masks as polygons that give back every pixel. Imports no PyTorch.

A polygon runs along the edges of pixels. A pixel covers the unit square to the right of and below its index, so corners
are whole numbers from 0 to the image's width and height, as ``pycocotools`` and the annotations of COCO have them.
Rasterised by ``pycocotools`` the polygons are the mask again, and their area is its number of pixels.

Lists of polygons, as COCO has them, know no holes. A hole is joined to the outline around it by a slit of no width, the
same way there and back, which no pixel shows.

``cv2.findContours`` follows the centres of the outermost pixels, which loses half a pixel on every side.
"""

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from refinemask.coco_strings import coco_runs
from refinemask.files import UserError
from refinemask.masks import RLE

Polygon = NDArray[np.int32]
"""Corners [K, 2] (x, y) of a closed outline, whole pixels."""


def polygons_of(mask: RLE | NDArray[np.bool_], tolerance: float = 0.0) -> list[Polygon]:
    """The outline of each part of a mask, from the topmost part on; none if no pixel is set.

    Parts touch at corners at most. Outlines run clockwise in the picture, those of holes the other way.

    Args:
        mask: the mask [height, width], or its run-length encoding.
        tolerance: pixels by which an outline may leave that of the mask so that it has fewer corners; 0 is exact.

    Raises:
        UserError: the tolerance is not a number from 0 on.
    """
    require_tolerance(tolerance)
    found, corner = _cropped(mask) if isinstance(mask, dict) else (np.asarray(mask, np.uint8), (0, 0))
    if not found.any():
        return []
    loops = _loops(found)
    # Most masks are one part without a hole.
    parts = cv2.connectedComponents(found, connectivity=4)[1] if len(loops) > 1 else found
    outlines: dict[int, Polygon] = {}
    holes: defaultdict[int, list[Polygon]] = defaultdict(list)
    for loop in loops:
        # The first corner is the topmost one, and of these the leftmost.
        x, y = loop[0]
        simple = _simplified(loop, tolerance)
        if y < found.shape[0] and x < found.shape[1] and found[y, x]:
            outlines[int(parts[y, x])] = simple
        else:
            holes[int(parts[y - 1, x])].append(simple[::-1])
    return [_joined(outline, holes[part]) + np.array(corner, np.int32) for part, outline in outlines.items()]


def outlines_of(mask: NDArray[np.bool_]) -> list[Polygon]:
    """The outlines of a mask [height, width] and of its holes, each on its own: what lies within an odd number of them
    is the mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return []
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = np.array([columns[0], rows[0]], np.int32)
    return [loop + corner for loop in _loops(part.astype(np.uint8))]


def require_tolerance(tolerance: float) -> None:
    """Raise a UserError unless a tolerance is a number of pixels from 0 on."""
    if not 0 <= tolerance < np.inf:
        raise UserError(f"tolerance is {tolerance}, expected pixels, 0 or more")


def _cropped(rle: RLE) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The columns of a mask from the first to the last that has a pixel, and the (x, y) where they begin."""
    height = rle["size"][0]
    runs = coco_runs(rle["counts"])
    # The last run may be of background.
    runs = runs[: len(runs) // 2 * 2]
    if not runs[1::2].any():
        return np.zeros((0, 0), np.uint8), (0, 0)
    left = int(runs[0]) // height
    right = -(-int(runs.sum()) // height)
    runs[0] -= left * height
    runs = np.append(runs, (right - left) * height - runs.sum())
    values = np.arange(len(runs), dtype=np.uint8) & 1
    columns = np.repeat(values, runs).reshape(right - left, height)
    rows = np.flatnonzero(columns.any(axis=0))
    return np.ascontiguousarray(columns[:, rows[0] : rows[-1] + 1].T), (left, int(rows[0]))


def _loops(mask: NDArray[np.uint8]) -> list[Polygon]:
    """The closed outlines along the edges of pixels; each begins with its topmost corner, of these the leftmost, and
    goes on to the right.

    Along a row of the grid, every edge lies between two corners that follow each other, and so it does along a column.
    So each corner has one partner in its row and one in its column. Where two pixels meet at a corner alone, there are
    two corners, one for each pixel.
    """
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    padded[1:-1, 1:-1] = mask
    top_left, top_right, bottom_left, bottom_right = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    meeting = (top_left == bottom_right) & (top_right == bottom_left) & (top_left != top_right)
    odd = top_left ^ top_right ^ bottom_left ^ bottom_right
    y, x = np.nonzero(odd | meeting)
    times = 1 + meeting[y, x]
    second = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times) == 1
    # Of two corners, the first belongs to the edge on the left, and to that above where the left pixel is above.
    lower = second ^ np.repeat((times == 2) & top_right[y, x], times)
    y, x = np.repeat(y, times), np.repeat(x, times)
    by_column = np.argsort((x * len(padded) + y) * 2 + lower)
    in_column = np.empty(len(x), np.int64)
    in_column[by_column[0::2]], in_column[by_column[1::2]] = by_column[1::2], by_column[0::2]
    corners = np.stack([x, y], axis=1).astype(np.int32)
    return [corners[loop] for loop in _cycles(in_column.tolist())]


def _cycles(in_column: Sequence[int]) -> list[list[int]]:
    """The closed ways over corners, of which each pair ``2k``, ``2k + 1`` are partners in their row."""
    is_left = [True] * len(in_column)
    cycles = []
    for start in range(0, len(in_column), 2):
        cycle = []
        corner = start
        while is_left[corner]:
            is_left[corner] = is_left[corner ^ 1] = False
            cycle += [corner, corner ^ 1]
            corner = in_column[corner ^ 1]
        if cycle:
            cycles.append(cycle)
    return cycles


def _simplified(loop: Polygon, tolerance: float) -> Polygon:
    """The outline with fewer corners (Douglas and Peucker, 1973), or itself if nothing of it would remain."""
    if tolerance == 0:
        return loop
    simple = cv2.approxPolyDP(loop, tolerance, closed=True)[:, 0].astype(np.int32)
    return simple if len(simple) >= 3 else loop


def _joined(outline: Polygon, holes: Sequence[Polygon]) -> Polygon:
    """One outline with slits to the holes."""
    for hole in holes:
        here = int(np.argmin(np.square(outline - hole[0]).sum(axis=1)))
        outline = np.concatenate([outline[: here + 1], hole, hole[:1], outline[here:]])
    return outline
