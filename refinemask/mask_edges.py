"""Masks as the edges of their runs: moved, measured and united without a pixel. Imports no PyTorch.

The edges of a mask are pixel indices of its image, column-major and ascending: where a run of foreground begins and
where it ends (exclusive), in turn. No run crosses into the next column, so a mask takes two numbers for each piece of a
column that it covers, whatever the size of its image.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refinemask.coco_strings import coco_runs
from refinemask.masks import RLE, compress, run_lengths

Edges = NDArray[np.int64]
"""[2R] pixel indices."""


def placed(rle: RLE, left: int, top: int, height: int) -> Edges:
    """The edges of a part's mask in the whole image.

    Args:
        rle: mask of a rectangle of the image.
        left: the rectangle's first column in the image.
        top: the rectangle's first row in the image.
        height: height of the image in pixels.
    """
    rows = rle["size"][0]
    bounds = coco_runs(rle["counts"]).cumsum()
    starts, ends = bounds[: len(bounds) // 2 * 2].reshape(-1, 2).T
    first = starts // rows
    pieces = np.where(ends > starts, (ends - 1) // rows - first + 1, 0)
    run = np.repeat(np.arange(len(starts)), pieces)
    column = np.arange(len(run)) - np.repeat(pieces.cumsum() - pieces, pieces) + first[run]
    shift = (left + column) * height + top - column * rows
    begins = np.maximum(starts[run], column * rows) + shift
    stops = np.minimum(ends[run], (column + 1) * rows) + shift
    return np.stack([begins, stops], axis=1).ravel()


def encode(edges: Edges, height: int, width: int) -> RLE:
    """The encoding that ``pycocotools.mask.encode`` makes of the mask."""
    return compress(run_lengths(edges, height * width), height, width)


def area(edges: Edges) -> int:
    """Number of pixels."""
    return int((edges[1::2] - edges[::2]).sum())


def area_within(edges: Edges, box: Sequence[int], height: int) -> int:
    """Number of pixels in a rectangle (left, top, right, bottom), its end exclusive, of an image of that height."""
    left, top, right, bottom = box
    column = edges[::2] // height
    begins, stops = (side - column * height for side in (edges[::2], edges[1::2]))
    rows = (stops.clip(max=bottom) - begins.clip(min=top)).clip(min=0)
    return int(rows[(left <= column) & (column < right)].sum())


def intersection_area(first: Edges, second: Edges) -> int:
    """Number of pixels that both masks have."""
    positions, depth = _depth([first, second])
    return int(np.diff(positions)[depth[:-1] == 2].sum())


def union(masks: Sequence[Edges]) -> Edges:
    """The pixels that any of the masks has."""
    positions, depth = _depth(masks)
    before = np.concatenate(([0], depth))[:-1]
    return positions[(depth == 0) | (before == 0)]


def sampled(edges: Edges, rows: NDArray[np.int64], columns: NDArray[np.int64], height: int) -> NDArray[np.bool_]:
    """The mask at the crossings of some rows and columns of its image of that height, each ascending."""
    found = np.zeros((len(rows), len(columns)), bool)
    if len(edges):
        first, last = np.searchsorted(columns, [edges[0] // height, (edges[-1] - 1) // height + 1])
        pixels = columns[first:last, None] * height + rows
        found[:, first:last] = (np.searchsorted(edges, pixels, side="right") % 2 == 1).T
    return found


def on_grid(rle: RLE, box: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask on a grid over a rectangle of its image, looked up in the middle of each cell.

    Args:
        rle: the mask; the string of its run lengths may be text, as in JSON.
        box: the rectangle (left, top, right, bottom), its end exclusive.
        shape: rows and columns of the grid.
    """
    left, top, right, bottom = box
    rows, columns = (
        ((np.arange(count) + 0.5) * side / count).astype(np.int64) + start
        for count, side, start in ((shape[0], bottom - top, top), (shape[1], right - left, left))
    )
    counts, height = rle["counts"], rle["size"][0]
    encoded: RLE = {"size": rle["size"], "counts": counts.encode("ascii") if isinstance(counts, str) else counts}
    return sampled(placed(encoded, 0, 0, height), rows, columns, height)


def _depth(masks: Sequence[Edges]) -> tuple[Edges, NDArray[np.int64]]:
    """All edges in order, and how many masks have the pixels from each edge on."""
    positions = np.concatenate(masks)
    # Every mask has an even number of edges. Where a run ends and another begins, the end comes first.
    is_start = np.arange(len(positions)) % 2 == 0
    order = np.argsort(2 * positions + is_start, kind="stable")
    return positions[order], np.where(is_start, 1, -1)[order].cumsum()
