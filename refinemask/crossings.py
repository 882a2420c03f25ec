"""Where masks that are resampled over boxes cross one half. Imports no PyTorch.

A mask has square cells between four neighbouring samples, around it a border of samples of zero. Along the columns of
an image that go through a cell, a bilinear mask is linear between the cell's upper and lower side. So it can cross one
half there only where the four corners are not on one side of one half, and nothing else of the mask is resampled.

All masks are worked on at once, in few long calls of NumPy and OpenCV that let other threads run meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.5
"""Probability from which on a pixel is foreground."""
CROSSINGS_AT_ONCE = 1 << 17
"""Pairs of a cell and an image column that are looked at together: bounds the memory, and stays in the cache."""


def edges(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int, *, largest: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the runs of pasted masks begin and end, in turn: mask by mask, and ascending in each.

    Args:
        masks: [N, M, M] finite float32 samples.
        boxes: [N, 4] finite (x1, y1, x2, y2) in pixels of the image.
        height: height of the image in pixels.
        width: width of the image in pixels.
        largest: the largest magnitude of a sample, at least.

    Returns:
        The column-major pixel indices [E], from 0 to ``height * width``, and the mask [E] of each.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        parts = list(_edges(masks, boxes, height, width, largest=largest))
    if len(parts) == 1:
        return parts[0]
    found, owners = zip(*parts, strict=True)
    return np.concatenate(found), np.concatenate(owners)


def _edges(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int, *, largest: float
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """:func:`edges`, some columns of the image after the other."""
    rows, columns = masks.shape[1:]
    cells = _Cells.of(masks, largest)
    across = _Centres.of(boxes[:, 0], boxes[:, 2], width, columns)
    down = _Centres.of(boxes[:, 1], boxes[:, 3], height, rows)
    position = across.position.clip(-1, columns)
    knot = np.floor(position)
    position -= knot
    place = (knot.astype(np.intp) + 1) * len(masks) + across.box
    counts = cells.counts[place]
    ends = np.cumsum(counts)
    # A column's cells follow each other, and so do those of the columns.
    shift = cells.ends[place] - ends
    cuts = np.searchsorted(ends, np.arange(CROSSINGS_AT_ONCE, counts.sum(), CROSSINGS_AT_ONCE)).tolist()
    for first, end in zip([0, *cuts], [*cuts, len(ends)], strict=True):
        column = np.repeat(np.arange(first, end), counts[first:end])
        cell = shift[column]
        cell += np.arange(ends[first - 1] if first else 0, ends[end - 1] if end else 0)
        crossing, height_in_mask = cells.crossings(cell, position[column])
        column = column[crossing]
        box = across.box[column]
        yield across.pixel[column] * height + down.first_at_or_after(height_in_mask, box), box


@dataclass(frozen=True)
class _Cells:
    """The K cells of N masks where these may cross one half; by column of the masks, then by mask, then by row."""

    counts: NDArray[np.intp]
    """[(M + 2) * N] number of cells in each column of each mask."""
    ends: NDArray[np.intp]
    """[(M + 2) * N] number of cells up to the end of each column of each mask."""
    row: NDArray[np.intp]
    """[K] upper side of each cell in samples of the mask, from -1."""
    corners: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    """[K] each: upper left sample, the difference of the upper right one to it, and the same of the lower ones."""

    @classmethod
    def of(cls, masks: NDArray[np.float32], largest: float) -> "_Cells":
        """Find the cells whose corners are on both sides of one half, or too close to it for float32 to tell."""
        number, rows, columns = masks.shape
        samples = np.zeros((columns + 2, number, rows + 2), np.float32)
        by_column = cv2.transpose(np.ascontiguousarray(masks, np.float32).reshape(number * rows, columns))
        samples[1:-1, :, 1:-1] = by_column.reshape(columns, number, rows)
        flat, next_column = samples.ravel(), number * (rows + 2)
        # A sum of rounded terms can leave the range of the corners by a few units in the last place of the largest.
        margin = 2.0**-21 * largest
        may = flat >= THRESHOLD - margin
        must = flat >= THRESHOLD + margin
        some = may[next_column:] | may[:-next_column]
        every = must[next_column:] & must[:-next_column]
        # What joins the last row of a mask with the first one of the next lies between zeros and crosses nothing.
        cell = np.flatnonzero((some[1:] | some[:-1]) > (every[1:] & every[:-1]))
        column = cell // (rows + 2)
        counts = np.bincount(column, minlength=(columns + 2) * number)
        row = cell - column * (rows + 2) - 1
        left = flat[cell], flat[cell + 1]
        cell += next_column
        corners = left[0], flat[cell] - left[0], left[1], flat[cell + 1] - left[1]
        return cls(counts, np.cumsum(counts), row, corners)

    def crossings(
        self, cell: NDArray[np.intp], share: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Which of the lines through cells cross one half, and at which height of the mask in samples.

        Args:
            cell: [C] the cell of each line; all cells of a column of the image, from above, column by column.
            share: [C] how far from the cell's left side to its right one the line goes.
        """
        upper_left, upper_step, lower_left, lower_step = self.corners
        upper, lower = upper_step[cell], lower_step[cell]
        upper *= share
        lower *= share
        upper += upper_left[cell]
        lower += lower_left[cell]
        crossing = np.flatnonzero((upper >= THRESHOLD) != (lower >= THRESHOLD))
        before = upper[crossing].astype(np.float64)
        position = self.row[cell[crossing]] + (THRESHOLD - before) / (lower[crossing] - before)
        # Up and down crossings alternate, and a pixel right on a down crossing is still foreground.
        position[1::2] = np.nextafter(position[1::2], np.inf)
        return crossing, position


@dataclass(frozen=True)
class _Centres:
    """The centres of the pixels that are near boxes, along one side of the image; box after box."""

    box: NDArray[np.intp]
    """[P] box of each pixel."""
    pixel: NDArray[np.intp]
    """[P] index of each pixel in the image."""
    position: NDArray[np.float32]
    """[P] where its centre lies, in samples of the mask; ascending in each box."""
    begins: NDArray[np.intp]
    """[N] index of each box's first pixel in the arrays above."""
    counts: NDArray[np.intp]
    """[N] number of pixels of each box."""
    first: NDArray[np.intp]
    """[N] index of each box's first pixel in the image."""
    scale: NDArray[np.float64]
    """[N] pixels a sample."""
    origin: NDArray[np.float64]
    """[N] centre of the mask's first sample, from the centre of the box's first pixel."""

    @classmethod
    def of(cls, low: NDArray[np.float32], high: NDArray[np.float32], size: int, samples: int) -> "_Centres":
        """The centres near boxes [N] with these sides, rounded as the official model rounds them.

        Args:
            low: [N] lower sides in pixels.
            high: [N] higher sides in pixels.
            size: number of pixels of the image along this side.
            samples: number of samples of the mask along this side.
        """
        first = (np.floor(low.astype(np.float64)) - 1).clip(0, size).astype(np.intp)
        end = (np.ceil(high.astype(np.float64)) + 1).clip(first, np.maximum(first, size)).astype(np.intp)
        # A box whose sides have changed places would give descending positions.
        counts = np.where(low <= high, end - first, 0)
        begins = np.cumsum(counts) - counts
        box = np.repeat(np.arange(len(low)), counts)
        pixel = np.arange(len(box)) + (first - begins)[box]
        extent = high - low
        position = pixel.astype(np.float32) + np.float32(0.5) - low[box]
        position /= extent[box]
        position *= 2
        position -= 1
        if not (finite := np.isfinite(position)).all():
            # A box without extent divides by zero here. The official model samples it at the middle of its mask.
            flat = np.bincount(box[~finite], minlength=len(low)) * (extent < 1) > 0
            position[flat[box]] = 0
        position += 1
        position *= samples
        position -= 1
        position /= 2
        scale = extent.astype(np.float64) / samples
        origin = low - (first + 0.5) + scale / 2
        return cls(box, pixel, position, begins, counts, first, scale, origin)

    def first_at_or_after(self, position: NDArray[np.float64], box: NDArray[np.intp]) -> NDArray[np.intp]:
        """The first pixel at each box whose centre is not before a position, or the one behind all: [C].

        Args:
            position: [C] in samples of the mask.
            box: [C] whose pixels are meant.
        """
        # The positions of every box between two that are beyond all.
        begins = self.begins + 2 * np.arange(len(self.begins))
        fenced = np.full(len(self.position) + 2 * len(begins), np.inf, self.position.dtype)
        fenced[begins] = -np.inf
        fenced[np.arange(len(self.position)) + (2 * self.box + 1)] = self.position
        # Computed the other way round, nearly always it is the pixel that the rounded positions say.
        pixel = np.ceil(position * self.scale[box] + self.origin[box])
        count = self.counts[box]
        pixel = np.fmax(np.fmin(pixel, count, out=pixel), 0, out=pixel).astype(np.intp)
        before = begins[box]
        place = before + pixel
        wrong = np.flatnonzero(~((fenced[place] < position) & (position <= fenced[place + 1])))
        if len(wrong):
            low = before[wrong] + 1
            pixel[wrong] = _bisect(fenced, low, low + count[wrong], position[wrong]) - low
        pixel += self.first[box]
        return pixel


def _bisect(
    values: NDArray[np.float32], low: NDArray[np.intp], high: NDArray[np.intp], wanted: NDArray[np.float64]
) -> NDArray[np.intp]:
    """For each value wanted the first index from ``low`` on whose value is not less, or ``high``: ``searchsorted`` in
    a part of the values for each."""
    while (low < high).any():
        middle = (low + high) // 2
        less = (low < high) & ~(values[middle] >= wanted)
        low, high = np.where(less, middle + 1, low), np.where(less, high, np.minimum(middle, high))
    return low
