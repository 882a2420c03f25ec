"""From mask probabilities on boxes to run-length encodings in the image. Imports no PyTorch.

Strings are made and read by ``pycocotools``, which is imported when they are: run lengths need NumPy alone.

A pasted mask is never made. Bilinear interpolation is separable, and along an image column it is a piecewise linear
function with one knot per mask row: the runs of the column begin and end where that function crosses one half. So the
work depends on the mask's resolution and the box's width, not on the box's area. The memory depends neither on the
number of masks nor on the size of the image.
"""

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from refinemask.polygons import near_image

THRESHOLD = 0.5
"""Probability from which on a pixel is foreground."""
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
    from pycocotools import mask as coco_mask

    runs = paste_runs(masks, boxes, height, width)
    if not all(map(pycocotools_has_room, runs)):
        return [{"size": [height, width], "counts": coco_string(lengths.tolist())} for lengths in runs]
    uncompressed = [{"size": [height, width], "counts": lengths} for lengths in runs]
    return coco_mask.frPyObjects(uncompressed, height, width) if uncompressed else []


def pycocotools_has_room(runs: NDArray[np.intp]) -> bool:
    """Whether ``pycocotools`` makes the string of run lengths within the six bytes a run that it allocates.

    It writes up to seven bytes for a run or difference of 2^24 or more and five for others, and a zero behind. For a
    few long runs it would write beyond.
    """
    # A long run makes up to two differences long.
    return len(runs) > 4 * int(np.count_nonzero(np.asarray(runs) >= 1 << 24))


def coco_string(runs: Sequence[int]) -> bytes:
    """COCO's compressed string of run lengths: from the fourth on each is a difference to the one before the last, in
    groups of five bits, the lowest first."""
    encoded = bytearray()
    for index, run in enumerate(runs):
        rest = run - runs[index - 2] if index > 2 else run
        while True:
            group, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if group & 0x10 else 0)
            encoded.append(48 + (group | 0x20 if more else group))
            if not more:
                break
    return bytes(encoded)


def coco_runs(string: bytes) -> NDArray[np.int64]:
    """The run lengths that a string of COCO's stands for: the inverse of :func:`coco_string`.

    Raises:
        ValueError: it is no such string, or has a number beyond 30 bits.
    """
    runs, _ = _numbers(string)
    # From the fourth on, each is a difference to the one before the last.
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs


def fill_image(strings: Sequence[bytes], pixels: int) -> bool:
    """Whether all are strings of COCO's of masks of so many pixels, without an empty run but for the first.

    All are read at once: that takes a quarter of the time of reading each.
    """
    if not all(strings):
        return False
    try:
        numbers, ends = _numbers(b"".join(strings))
    except ValueError:
        return False
    # Where each string ends, a number must end.
    last = np.cumsum([len(string) for string in strings]) - 1
    place = np.searchsorted(ends, last)
    if not np.array_equal(ends[place], last):
        return False
    counts = np.diff(place + 1, prepend=0)
    runs = _sums_of_differences(numbers, counts)
    begins = np.cumsum(counts) - counts
    is_first = np.zeros(len(runs), bool)
    is_first[begins] = True
    return bool((np.add.reduceat(runs, begins) == pixels).all() and (runs + is_first > 0).all())


def _numbers(string: bytes) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The numbers in strings of COCO's, and where the last character of each is.

    Raises:
        ValueError: it is no such string, or has a number beyond 30 bits.
    """
    groups = np.frombuffer(string, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(groups < 0x20)
    if not len(groups):
        return groups, last
    if groups.min() < 0 or groups.max() > 0x3F:
        raise ValueError("a character that is none of COCO's compressed run lengths")
    if not len(last) or last[-1] < len(groups) - 1:
        raise ValueError("an end in the middle of a run length")
    first = np.concatenate(([0], last[:-1] + 1))
    bits = 5 * (last - first + 1)
    if bits.max() > 30:
        raise ValueError("a run length of more than 30 bits")
    places = 5 * (np.arange(len(groups)) - np.repeat(first, bits // 5))
    numbers = np.add.reduceat((groups & 0x1F) << places, first)
    negative = groups[last] & 0x10 > 0
    numbers[negative] -= 1 << bits[negative]
    return numbers, last


def _sums_of_differences(numbers: NDArray[np.int64], counts: NDArray[np.intp]) -> NDArray[np.int64]:
    """Run lengths of several masks, of which each from the fourth on is given as the difference to the one before the
    last: the second, fourth … are sums, and so are the third, fifth …"""
    pairs = (counts + 1) // 2
    begins = np.cumsum(pairs) - pairs
    # Every mask begins in a new row of two.
    place = np.arange(len(numbers)) + np.repeat(2 * begins - (np.cumsum(counts) - counts), counts)
    rows = np.zeros((pairs.sum(), 2), np.int64)
    rows.ravel()[place] = numbers
    firsts = rows[begins, 0]
    rows[begins, 0] = 0
    sums = rows.cumsum(axis=0)
    sums -= np.repeat(sums[begins] - rows[begins], pairs, axis=0)
    sums[begins, 0] = firsts
    return sums.ravel()[place]


def compress(runs: NDArray[np.int64], height: int, width: int) -> RLE:
    """The encoding of run lengths that fill an image."""
    from pycocotools import mask as coco_mask

    if not pycocotools_has_room(runs):
        return {"size": [height, width], "counts": coco_string(runs.tolist())}
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)


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
    if len(masks) != len(boxes):
        raise ValueError(f"each mask needs a box, found {len(masks)} masks and {len(boxes)} boxes")
    if not np.isfinite(boxes).all() or not np.isfinite(masks.sum()):
        raise ValueError(NOT_FINITE)
    rows, columns = masks.shape[1:]
    by_column = np.zeros((columns + 3, rows + 2), dtype=np.float32)
    runs = []
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for mask, box in zip(masks, boxes, strict=True):
            by_column[1:-2, 1:-1] = mask.T
            runs.append(run_lengths(_edges(by_column, box, height, width), height * width))
    return runs


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


def _edges(by_column: NDArray[np.float32], box: NDArray[np.float32], height: int, width: int) -> NDArray[np.intp]:
    """The column-major pixel indices where the runs of one pasted mask begin and end, in turn; ascending.

    Args:
        by_column: the transposed mask with a border of zeros, so that every column begins and ends with zero.
        box: [4] (x1, y1, x2, y2) in pixels of the image.
    """
    columns, rows = by_column.shape[0] - 3, by_column.shape[1] - 2
    left, xs = _sample_positions(box[0], box[2], width, columns)
    top, ys = _sample_positions(box[1], box[3], height, rows)
    xs = xs.clip(-1, columns)
    knot = np.floor(xs)
    index = knot.astype(np.intp) + 1
    profile = (by_column[1:] - by_column[:-1])[index]
    profile *= (xs - knot)[:, None]
    profile += by_column[index]

    values = profile.ravel()
    foreground = values >= THRESHOLD
    crossings = np.flatnonzero(foreground[1:] != foreground[:-1])
    column, row = np.divmod(crossings, rows + 2)
    before = values[crossings].astype(np.float64)
    position = row - 1 + (THRESHOLD - before) / (values[crossings + 1] - before)
    # Up and down crossings alternate, and a pixel right on a down crossing is still foreground.
    position[1::2] = np.nextafter(position[1::2], np.inf)
    return (left + column) * height + (top + np.searchsorted(ys, position))


def _sample_positions(low: np.float32, high: np.float32, size: int, samples: int) -> tuple[int, NDArray[np.float32]]:
    """The first pixel near a box's low side, and where its centre and the following ones lie in samples of the mask."""
    first = min(max(math.floor(low) - 1, 0), size)
    # A box whose sides have changed places would give descending positions.
    end = max(first, min(math.ceil(high) + 1, size)) if low <= high else first
    centres = np.arange(first, end, dtype=np.float32) + np.float32(0.5)
    relative = (centres - low) / (high - low) * 2 - 1
    if high - low < 1 and not np.isfinite(relative).all():
        # A box without extent divides by zero here. The official model samples it at the middle of its mask.
        relative[:] = 0
    return first, ((relative + 1) * samples - 1) / 2


def run_lengths(edges: NDArray[np.intp], pixels: int) -> NDArray[np.intp]:
    """Lengths of the alternating background and foreground runs of an image of ``pixels`` pixels."""
    bounds = np.concatenate(([0], edges, [pixels]))
    lengths = bounds[1:] - bounds[:-1]
    if lengths[1:].all():
        return lengths
    # Some runs have no pixel, or touch the next one across two columns: edges that coincide cancel in pairs.
    starts = np.flatnonzero(np.diff(edges, prepend=-1))
    edges = edges[starts[np.diff(starts, append=len(edges)) % 2 == 1]]
    return np.diff(edges[edges < pixels], prepend=0, append=pixels)
