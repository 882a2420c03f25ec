"""From mask probabilities on boxes to run-length encodings in the image. Imports no PyTorch.

Strings are made and read by ``pycocotools``, which is imported when they are: run lengths need NumPy and OpenCV alone.

A pasted mask is never made. Bilinear interpolation is separable, and along an image column it is a piecewise linear
function with one knot per mask row: the runs of the column begin and end where that function crosses one half, see
``refinemask/crossings.py``. So the work depends on the length of the mask's outline and the box's width, not on the
box's area. The memory beside the results depends neither on the number of masks nor on the area of the image.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from refinemask import crossings
from refinemask.coco_strings import LONG_RUN, coco_string, pycocotools_has_room
from refinemask.polygons import near_image

SAMPLES_AT_ONCE = 1 << 19
"""Samples of masks that are worked on together: enough for long calls, and few enough for the cache."""
NOT_FINITE = "masks and boxes must be finite; check the numeric range of the engine that made them"
"""What is said of masks or boxes with infinite values or NaN."""


class RLE(TypedDict):
    """COCO's compressed run-length encoding, column-major."""

    size: list[int]
    """[height, width]"""
    counts: bytes


def paste_rle(masks: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int) -> list[RLE]:
    """Resample each mask over its box and encode the pixels where it is at least one half.

    The strings are those that ``pycocotools.mask.encode`` makes of the pasted masks.

    Args:
        masks: [N, M, M] float32 probabilities.
        boxes: [N, 4] (x1, y1, x2, y2) in pixels of the image; they may reach beyond it or be empty.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        The encoding [height, width] of each mask.

    Raises:
        ValueError: the number of masks and boxes differs, or a value is not finite.
    """
    rles: list[RLE] = []
    for runs in _pasted(masks, boxes, height, width):
        # No run is longer than the image.
        has_room = height * width < LONG_RUN or all(map(pycocotools_has_room, runs))
        rles += _compress(runs, height, width, has_room=has_room)
    return rles


def compress(runs: NDArray[np.int64], height: int, width: int) -> RLE:
    """The encoding of run lengths that fill an image."""
    (rle,) = _compress([runs], height, width, has_room=pycocotools_has_room(runs))
    return rle


def _compress(runs: Sequence[NDArray[np.int64]], height: int, width: int, *, has_room: bool) -> list[RLE]:
    from pycocotools import mask as coco_mask

    if has_room:
        return coco_mask.frPyObjects([{"size": [height, width], "counts": each} for each in runs], height, width)
    return [{"size": [height, width], "counts": coco_string(each.tolist())} for each in runs]


def without_empty_runs(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same mask's runs, of which only the first may have no pixel: ``pycocotools`` compares no others rightly."""
    return run_lengths(runs.cumsum()[:-1], int(runs.sum()))


def paste_runs(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int
) -> list[NDArray[np.intp]]:
    """The run lengths of :func:`paste_rle`: background and foreground in turn, column by column.

    The value of a pixel is the bilinear sample of the mask at the pixel's centre (``align_corners=False``, zero outside
    the mask), with the coordinates rounded as the official model rounds them: float32, see mmdet's ``_do_paste_mask``.
    The mask of a box whose high side lies below its low side is empty.

    Raises:
        ValueError: the number of masks and boxes differs, or a value is not finite.
    """
    return [each for runs in _pasted(masks, boxes, height, width) for each in runs]


def _pasted(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int
) -> Iterator[list[NDArray[np.intp]]]:
    """The run lengths of some masks after the other."""
    if len(masks) != len(boxes):
        raise ValueError(f"each mask needs a box, found {len(masks)} masks and {len(boxes)} boxes")
    if not np.isfinite(boxes).all() or not np.isfinite(masks.sum()):
        raise ValueError(NOT_FINITE)
    # The positions of the pixels near a box take memory, too.
    at_once = max(1, SAMPLES_AT_ONCE // max(math.prod(masks.shape[1:]), width))
    for first in range(0, len(masks), at_once):
        some = slice(first, first + at_once)
        edges, owners = crossings.edges(masks[some], boxes[some], height, width)
        yield _run_lengths(edges, owners, len(masks[some]), height * width)


def decode(rles: Sequence[Any], height: int, width: int) -> NDArray[np.bool_]:
    """Boolean masks [N, height, width] of run-length encodings of that size."""
    if not rles:
        return np.zeros((0, height, width), dtype=bool)
    from pycocotools import mask as coco_mask

    return coco_mask.decode(list(rles)).transpose(2, 0, 1).astype(bool)


def polygon_rle(polygons: Sequence[Sequence[float] | NDArray[Any]], height: int, width: int) -> RLE:
    """The union of polygons, each (x0, y0, x1, y1, …) in pixels, encoded as ``pycocotools`` does: [height, width]."""
    from pycocotools import mask as coco_mask

    near = [near_image(np.asarray(polygon, np.float64), height, width).tolist() for polygon in polygons]
    return coco_mask.merge(coco_mask.frPyObjects(near, height, width))


def segmentation_rle(segmentation: Any, height: int, width: int) -> RLE:
    """The run-length encoding of a COCO annotation's polygons or of its encoded mask."""
    if isinstance(segmentation, list):
        return polygon_rle(segmentation, height, width)
    if isinstance(segmentation["counts"], list):
        return compress(np.array(segmentation["counts"], np.int64), height, width)
    return segmentation


def run_lengths(edges: NDArray[np.intp], pixels: int) -> NDArray[np.intp]:
    """Lengths of the alternating background and foreground runs of an image of ``pixels`` pixels."""
    (lengths,) = _run_lengths(edges, np.zeros(len(edges), np.intp), 1, pixels)
    return lengths


def _run_lengths(edges: NDArray[np.intp], owners: NDArray[np.intp], number: int, pixels: int) -> list[NDArray[np.intp]]:
    """:func:`run_lengths` of several masks, to which the edges belong in ascending order."""
    inside = edges < pixels
    if not inside.all():
        edges, owners = edges[inside], owners[inside]
    # The last run of each mask ends with the image.
    bounds = np.full(len(edges) + number, pixels)
    bounds[np.arange(len(edges)) + owners] = edges
    lengths, ends = _differences(bounds, pixels)
    empty = lengths == 0
    empty[[0, *ends[:-1]]] = False
    if empty.any():
        # Some runs have no pixel, or touch the next one across two columns: edges that coincide cancel in pairs.
        starts = np.flatnonzero(~empty)
        lengths, ends = _differences(bounds[starts[np.diff(starts, append=len(bounds)) % 2 == 1]], pixels)
    return [lengths[begin:end] for begin, end in pairwise([0, *ends])]


def _differences(bounds: NDArray[np.intp], pixels: int) -> tuple[NDArray[np.intp], list[int]]:
    """Lengths of the runs of masks by where they end, and how many there are up to the end of each mask."""
    lengths = bounds.copy()
    lengths[1:] -= bounds[:-1]
    ends = np.flatnonzero(bounds == pixels) + 1
    lengths[ends[:-1]] += pixels
    return lengths, ends.tolist()
