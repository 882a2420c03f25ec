"""How a large image is divided into tiles. Imports no PyTorch."""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refinemask.config import STRIDE
from refinemask.files import UserError


class Tile(NamedTuple):
    """A rectangle of an image in pixels, its end exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The tile's pixels of an image [h, w, 3], which are not copied."""
        return image[self.top : self.bottom, self.left : self.right]

    def shared_with(self, other: "Tile") -> "Tile":
        """The pixels that both have, if their rectangles overlap."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Tile(left, top, min(self.right, other.right), min(self.bottom, other.bottom))


@dataclass(frozen=True)
class Tiling:
    """Square tiles of one size, each of which shares a band with the next."""

    tile: int
    """Side of a tile in pixels; an image that is smaller in one direction has tiles of its own size there."""
    overlap: int
    """Width of the band that a tile shares with the next; the last one, which ends with the image, may share more."""

    def __post_init__(self) -> None:
        """Raise a UserError unless the tiles cover an image in reasonable number."""
        for name, value, least in (("tile", self.tile, STRIDE), ("overlap", self.overlap, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"--{name} is {value!r}; expected a whole number of pixels, at least {least}")
        if self.overlap > self.tile // 2:
            raise UserError(f"--overlap is {self.overlap}; expected at most {self.tile // 2}, half of --tile")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the tiles of an image of that size, which all have the same."""
        return min(height, self.tile), min(width, self.tile)

    def fits(self, height: int, width: int) -> bool:
        """Whether an image needs no more than one tile."""
        return max(height, width) <= self.tile

    def tiles(self, height: int, width: int) -> list[Tile]:
        """The tiles of an image, row by row."""
        rows, columns = self.size(height, width)
        corners = product(self._starts(height), self._starts(width))
        return [Tile(left, top, left + columns, top + rows) for top, left in corners]

    def _starts(self, side: int) -> list[int]:
        last = max(0, side - self.tile)
        return [*range(0, last, self.tile - self.overlap), last]


def make_tiling(tile: int | None, overlap: int | None) -> Tiling | None:
    """The tiling that options ask for; None if images are to stay whole.

    Args:
        tile: side of a tile in pixels; None for no tiles.
        overlap: width in pixels of the band that neighbours share; None is an eighth of the tile.

    Raises:
        UserError: a number is not possible, or there is an overlap without tiles.
    """
    if tile is not None:
        return Tiling(tile, tile // 8 if overlap is None and isinstance(tile, int) else overlap)
    if overlap is not None:
        raise UserError(f"--overlap is {overlap}, but there are no tiles; give --tile, too")
    return None
