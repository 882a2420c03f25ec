"""Where masks that are resampled over boxes cross one half. Imports no PyTorch.

A mask has square cells between four neighbouring samples, around it a border of samples of zero. Along the columns of
an image that go through a cell, a bilinear mask is linear between the cell's upper and lower side. So it can cross one
half there only where the four corners are not on one side of one half, and nothing else of the mask is resampled.
Float32 keeps that: a share below one of a rounded difference is at most the difference, so a rounded sample is between
its neighbours. A share is rounded up to one only beside the border, where a difference to zero is exact.

All masks are worked on at once, in few long calls of NumPy and OpenCV that let other threads run meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.5
"""Probability from which on a pixel is foreground."""
CROSSINGS_AT_ONCE = 1 << 17
"""Pairs of a cell and an image column that are looked at together: bounds the memory, and stays in the cache."""


def edges(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the runs of pasted masks begin and end, in turn: mask by mask, and ascending in each.

    Args:
        masks: [N, M, M] finite float32 samples.
        boxes: [N, 4] finite (x1, y1, x2, y2) in pixels of the image.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        The column-major pixel indices [E], from 0 to ``height * width``, and the mask [E] of each.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        parts = list(_edges(masks, boxes, height, width))
    if len(parts) == 1:
        return parts[0]
    found, owners = zip(*parts, strict=True)
    return np.concatenate(found), np.concatenate(owners)


def _edges(
    masks: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """:func:`edges`, some columns of the image after the other."""
    rows, columns = masks.shape[1:]
    cells = _Cells.of(masks)
    across = _Side.of(boxes[:, 0], boxes[:, 2], width, columns)
    down = _Side.of(boxes[:, 1], boxes[:, 3], height, rows)
    box_of, pixel = across.pixels()
    position = across.positions(pixel, box_of).clip(-1, columns)
    knot = np.floor(position)
    position -= knot
    place = (knot.astype(np.intp) + 1) * len(masks) + box_of
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
        box = box_of[column]
        yield pixel[column] * height + down.first_at_or_after(height_in_mask, box), box


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
    def of(cls, masks: NDArray[np.float32]) -> "_Cells":
        """Find the cells whose corners are on both sides of one half."""
        number, rows, columns = masks.shape
        samples = np.zeros((columns + 2, number, rows + 2), np.float32)
        by_column = cv2.transpose(np.ascontiguousarray(masks, np.float32).reshape(number * rows, columns))
        samples[1:-1, :, 1:-1] = by_column.reshape(columns, number, rows)
        flat, next_column = samples.ravel(), number * (rows + 2)
        foreground = flat >= THRESHOLD
        differ_across = foreground[next_column:] != foreground[:-next_column]
        differ_down = foreground[1:] != foreground[:-1]
        # What joins the last row of a mask with the first one of the next lies between zeros and crosses nothing.
        cell = np.flatnonzero(differ_across[1:] | differ_across[:-1] | differ_down[:-next_column])
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
class _Side:
    """The pixels that are near N boxes along one side of the image, and where their centres lie in the masks."""

    low: NDArray[np.float32]
    """[N] lower side of each box in pixels."""
    extent: NDArray[np.float32]
    """[N] pixels between its sides."""
    samples: int
    """Number of samples of the masks between them."""
    first: NDArray[np.intp]
    """[N] first pixel near each box."""
    counts: NDArray[np.intp]
    """[N] number of pixels near it."""

    @classmethod
    def of(cls, low: NDArray[np.float32], high: NDArray[np.float32], size: int, samples: int) -> "_Side":
        """The pixels from 0 to ``size`` near boxes with the sides ``low`` and ``high`` [N]."""
        first = (np.floor(low.astype(np.float64)) - 1).clip(0, size)
        end = (np.ceil(high.astype(np.float64)) + 1).clip(0, size)
        # A box whose sides have changed places would give descending positions.
        counts = np.where(low <= high, np.maximum(end - first, 0), 0)
        return cls(low, high - low, samples, first.astype(np.intp), counts.astype(np.intp))

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """[N] boxes without extent, where a division by zero leaves no position; it shows at the outermost pixels."""
        outermost = self.first, self.first + self.counts - 1
        finite = [np.isfinite(self._relative(pixel, self.low, self.extent)) for pixel in outermost]
        return (self.extent < 1) & (self.counts > 0) & ~np.logical_and(*finite)

    def pixels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The box [P] of every pixel near one, and the pixel's index in the image [P]; ascending."""
        box = np.repeat(np.arange(len(self.counts)), self.counts)
        begins = np.cumsum(self.counts) - self.counts
        return box, np.arange(len(box)) + (self.first - begins)[box]

    def positions(self, pixel: NDArray[np.intp], box: NDArray[np.intp]) -> NDArray[np.float32]:
        """Where the centres of pixels [P] lie, in samples of the masks of boxes [P]; rounded like the official model's
        ``grid_sample`` on a grid from -1 to 1."""
        position = self._relative(pixel, self.low[box], self.extent[box])
        if self.flat.any():
            # The official model samples such a box at the middle of its mask.
            position[self.flat[box]] = 0
        position += 1
        position *= self.samples
        position -= 1
        position /= 2
        return position

    @staticmethod
    def _relative(
        pixel: NDArray[np.intp], low: NDArray[np.float32], extent: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        position = pixel.astype(np.float32)
        position += np.float32(0.5)
        position = position - low
        position /= extent
        position *= 2
        position -= 1
        return position

    def first_at_or_after(self, position: NDArray[np.float64], box: NDArray[np.intp]) -> NDArray[np.intp]:
        """The first pixel near each box whose centre is not before a position, or the one behind all: [C].

        Args:
            position: [C] in samples of the mask.
            box: [C] whose pixels are meant.
        """
        # Computed the other way round, nearly always it is the pixel that the rounded positions say.
        scale = self.extent.astype(np.float64) / self.samples
        pixel = np.ceil(position * scale[box] + (self.low + (scale / 2 - 0.5))[box])
        first = self.first[box]
        end = first + self.counts[box]
        pixel = np.fmax(np.fmin(pixel, end, out=pixel), first, out=pixel).astype(np.intp)
        right = (pixel == end) | (self.positions(pixel, box) >= position)
        right &= (pixel == first) | (self.positions(pixel - 1, box) < position)
        wrong = np.flatnonzero(~right)
        if len(wrong):
            pixel[wrong] = self._bisect(position[wrong], box[wrong])
        return pixel

    def _bisect(self, position: NDArray[np.float64], box: NDArray[np.intp]) -> NDArray[np.intp]:
        """:meth:`first_at_or_after` as ``searchsorted`` finds it."""
        low, high = self.first[box], (self.first + self.counts)[box]
        while (low < high).any():
            middle = (low + high) // 2
            before = (low < high) & ~(self.positions(middle, box) >= position)
            low, high = np.where(before, middle + 1, low), np.where(before, high, np.minimum(middle, high))
        return low
