"""IoU of mask boundaries (Cheng et al., Boundary IoU, CVPR 2021).

The boundary of a mask is what lies within a distance of its outline, inside the mask: the mask without the pixels whose
whole neighbourhood belongs to it. Beyond the image there is no mask. Only the pixels of a mask's box are looked at, and
two masks at a time are in memory.
"""

import math
from collections.abc import Iterator, Sequence
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
    may_match &= ~(_thin(found, reach)[:, None] & _thin(present, reach))
    for g in np.flatnonzero(may_match.any(0)).tolist():
        detections = np.flatnonzero(may_match[:, g]).tolist()
        boundaries = _boundaries([present[g], *(found[d] for d in detections)], reach)
        one = next(boundaries)
        for d, other in zip(detections, boundaries, strict=True):
            overlaps[d, g] = min(overlaps[d, g], _iou(one, other))
    return overlaps


def _thin(masks: Sequence[RLE], reach: int) -> NDArray[np.bool_]:
    """Whether each mask is so narrow or low that it is all boundary."""
    return (coco_mask.toBbox(list(masks))[:, 2:] <= 2 * reach).any(1)


def _boundaries(masks: Sequence[RLE], reach: int) -> Iterator[_Boundary]:
    """The boundary of each mask of one image, in turn."""
    height, side = masks[0]["size"][0], 2 * reach + 1
    boxes = coco_mask.toBbox(list(masks)).astype(int).tolist()
    for (x, y, columns, rows), ends in zip(boxes, run_ends([_text(mask) for mask in masks]), strict=True):
        pixels = np.zeros(columns * height, np.uint8)
        bounds = (ends - x * height).tolist()
        for begin, end in zip(bounds[::2], bounds[1::2], strict=False):
            pixels[begin:end] = 1
        box = pixels.reshape(columns, height)[:, y : y + rows]
        if min(columns, rows) >= side:
            # As many pixels as the neighbourhood has. A sum takes as long for a wide one as for a narrow one.
            inside = cv2.boxFilter(box, cv2.CV_32S, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
            box &= inside < side**2
        yield _Boundary(box, cv2.countNonZero(box), x, y)


def _text(mask: RLE) -> bytes:
    counts = mask["counts"]
    return counts.encode() if isinstance(counts, str) else counts


def _iou(a: _Boundary, b: _Boundary) -> float:
    left, top = max(a.x, b.x), max(a.y, b.y)
    right = min(a.x + a.pixels.shape[0], b.x + b.pixels.shape[0])
    bottom = min(a.y + a.pixels.shape[1], b.y + b.pixels.shape[1])
    one, other = (each.pixels[left - each.x : right - each.x, top - each.y : bottom - each.y] for each in (a, b))
    both = int(np.count_nonzero(one & other))
    return both / (a.area + b.area - both)
