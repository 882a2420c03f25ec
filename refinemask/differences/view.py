"""The part of an image that is shown, and its masks as they are seen there. Imports no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from refinemask.mask_edges import on_grid
from refinemask.structures import Result

LARGEST_WHOLE = 2048
"""Longer side in pixels up to which an image is shown whole."""
CROP = 1280
"""Smallest sides of the part that is shown of a larger image."""


@dataclass(frozen=True)
class View:
    """A rectangle of an image, drawn on a grid of ``rows`` x ``columns`` that has no more pixels than it."""

    image: tuple[int, int]
    """(height, width) of the whole image."""
    box: tuple[int, int, int, int]
    """The rectangle (left, top, right, bottom), its end exclusive, in pixels of the image."""
    rows: int
    columns: int

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The rectangle of an image [height, width, 3], as [rows, columns, 3]."""
        left, top, right, bottom = self.box
        size = self.columns, self.rows
        return cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

    def mask(self, result: Result) -> NDArray[np.bool_]:
        """The mask of an object [rows, columns], looked up in the middle of each cell."""
        return on_grid(result["segmentation"], self.box, (self.rows, self.columns))

    @property
    def note(self) -> str:
        """What is shown of the image, in a few words; empty if it is all of its pixels."""
        left, top, right, bottom = self.box
        height, width = self.image
        parts = []
        if (right - left, bottom - top) != (width, height):
            parts.append(f"the part {right - left}×{bottom - top} at ({left}, {top}) of {width}×{height} pixels")
        if (self.columns, self.rows) != (right - left, bottom - top):
            parts.append(f"reduced from {right - left}×{bottom - top} to {self.columns}×{self.rows} pixels")
        return ", ".join(parts)


def choose_box(height: int, width: int, differing: Sequence[float], crop: int = CROP) -> tuple[int, int, int, int]:
    """The rectangle of an image to show: all of it, or of a large image the surroundings of what differs most.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        differing: the box (x, y, w, h) of what differs most.
        crop: smallest side of a part in pixels.
    """
    if max(height, width) <= LARGEST_WHOLE:
        return 0, 0, width, height
    x, y, w, h = differing
    left, right = _span(x, w, width, crop)
    top, bottom = _span(y, h, height, crop)
    return left, top, right, bottom


def _span(start: float, length: float, limit: int, crop: int) -> tuple[int, int]:
    """A piece of a side around a part of it, half as long again as that, and within the image."""
    size = min(limit, max(crop, round(1.5 * length)))
    first = min(max(0, round(start + length / 2 - size / 2)), limit - size)
    return first, first + size


def make_view(image: tuple[int, int], box: tuple[int, int, int, int], largest: int) -> View:
    """The view of a rectangle on a grid of which no side is longer than ``largest``."""
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(1.0, largest / max(width, height))
    return View(image, box, max(1, round(height * scale)), max(1, round(width * scale)))
