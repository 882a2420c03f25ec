"""IoU of mask boundaries (Cheng et al., Boundary IoU, CVPR 2021).

The boundary of a mask is what lies within a distance of its outline, inside the mask: the mask without the pixels whose
whole neighbourhood belongs to it. Beyond the image there is no mask. Only the pixels of a mask's box are looked at, and
two masks at a time are in memory.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.coco_strings import run_ends
from refinemask.evaluation.matching import IOU_THRESHOLDS
from refinemask.masks import RLE

BOUNDARY_WIDTH = 0.02
"""Width of a boundary, as a share of the image's diagonal."""


class _Boundary(NamedTuple):
    pixels: NDArray[np.uint8]
    """The pixels of the mask's box, which lies at (x, y), 1 on the boundary; the first axis is x, as in run lengths."""
    area: int
    """Number of pixels of the boundary."""
    x: int
    y: int


def boundary_width(height: int, width: int) -> int:
    """Width of the boundaries in an image, in pixels: at least one."""
    return max(1, round(BOUNDARY_WIDTH * math.hypot(height, width)))


def boundary_overlaps(
    found: Sequence[RLE], present: Sequence[RLE], mask_overlaps: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The smaller of mask IoU and boundary IoU, which boundary AP is of.

    Boundaries are found where it matters: a pair whose masks overlap less than any threshold asks for is no match,
    whatever its boundaries do. A crowd has no boundary.

    Args:
        found: D masks of detections.
        present: G masks of objects, of the same image.
        mask_overlaps: [D, G] IoU of the masks.
        crowd: [G] the objects that are crowds.
    """
    overlaps = mask_overlaps.copy()
    may_match = (mask_overlaps >= IOU_THRESHOLDS[0]) & ~crowd
    if not may_match.any():
        return overlaps
    height, width = present[0]["size"]
    reach = boundary_width(height, width)
    found_boxes, boxes = (coco_mask.toBbox(list(masks)).astype(int) for masks in (found, present))
    # What is no wider or no higher than this is all boundary.
    may_match &= ~((found_boxes[:, 2:] <= 2 * reach).any(1)[:, None] & (boxes[:, 2:] <= 2 * reach).any(1))
    used, objects = np.flatnonzero(may_match.any(1)).tolist(), np.flatnonzero(may_match.any(0)).tolist()
    ends = run_ends([_text(mask) for mask in (*(found[d] for d in used), *(present[g] for g in objects))])
    outlines = dict(zip(used, ends, strict=False))
    for g, outline in zip(objects, ends[len(used) :], strict=True):
        one = _boundary(outline, boxes[g], height, reach)
        for d in np.flatnonzero(may_match[:, g]).tolist():
            overlaps[d, g] = min(overlaps[d, g], _iou(one, _boundary(outlines[d], found_boxes[d], height, reach)))
    return overlaps


def _boundary(ends: NDArray[np.int64], box: NDArray[np.int64], height: int, reach: int) -> _Boundary:
    """The boundary of a mask, by the ends of its runs in an image of this height."""
    x, y, columns, rows = box.tolist()
    # A run lies in one column, unless the box is as high as the image; then it is where it was.
    column, row = np.divmod(ends[:-1:2], height)
    begins = (column - x) * rows + row - y
    bounds = np.zeros(2 * len(begins) + 2, np.int64)
    bounds[1:-1:2], bounds[2:-1:2], bounds[-1] = begins, begins + ends[1::2] - ends[:-1:2], columns * rows
    lengths = bounds[1:] - bounds[:-1]
    values = np.zeros(len(lengths), np.uint8)
    values[1::2] = 1
    pixels = values.repeat(lengths).reshape(columns, rows)
    side = 2 * reach + 1
    if min(columns, rows) >= side:
        # As many pixels as the neighbourhood has. A sum takes as long for a wide one as for a narrow one.
        inside = cv2.boxFilter(pixels, cv2.CV_32S, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        pixels &= inside < side**2
    return _Boundary(pixels, cv2.countNonZero(pixels), x, y)


def _text(mask: RLE) -> bytes:
    counts = mask["counts"]
    return counts.encode() if isinstance(counts, str) else counts


def _iou(a: _Boundary, b: _Boundary) -> float:
    left, top = max(a.x, b.x), max(a.y, b.y)
    right = min(a.x + a.pixels.shape[0], b.x + b.pixels.shape[0])
    bottom = min(a.y + a.pixels.shape[1], b.y + b.pixels.shape[1])
    one, other = (each.pixels[left - each.x : right - each.x, top - each.y : bottom - each.y] for each in (a, b))
    both = cv2.countNonZero(one & other)
    return both / (a.area + b.area - both)
