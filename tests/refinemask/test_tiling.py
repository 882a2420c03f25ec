"""Tiles cover an image with bands of the asked width, and impossible ones are refused."""

from typing import Any

import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.tiling import Tile, Tiling, make_tiling


@pytest.mark.parametrize("shape", [(40, 300), (64, 64), (65, 64), (112, 113), (500, 301), (1, 1)])
@pytest.mark.parametrize("overlap", [0, 1, 16, 32])
def test_every_pixel_lies_in_a_tile_and_neighbours_share_a_band(shape: tuple[int, int], overlap: int) -> None:
    tiling = Tiling(64, overlap)
    tiles = tiling.tiles(*shape)
    covered = np.zeros(shape, int)
    for tile in tiles:
        image = np.zeros((*shape, 3), np.uint8)
        assert tile.of(image).shape[:2] == tiling.size(*shape), "all tiles have one size"
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert covered.all()
    assert (len(tiles) == 1) == tiling.fits(*shape)
    for starts in ({tile.left for tile in tiles}, {tile.top for tile in tiles}):
        steps = np.diff(sorted(starts))
        assert (steps[:-1] == 64 - overlap).all()
        assert (steps <= 64 - overlap).all()
        assert (steps > 0).all()


def test_the_shared_pixels_of_two_tiles() -> None:
    assert Tile(0, 0, 64, 64).shared_with(Tile(48, 10, 112, 74)) == Tile(48, 10, 64, 64)


def test_options_of_a_tiling() -> None:
    assert make_tiling(None, None) is None
    assert make_tiling(1024, None) == Tiling(1024, 128)
    assert make_tiling(64, 0) == Tiling(64, 0)


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (31, None, "--tile is 31; expected a whole number of pixels, at least 32"),
        (-1, 0, "--tile is -1; expected"),
        (64.0, None, r"--tile is 64\.0; expected a whole number"),
        ("64", 8, "--tile is '64'; expected a whole number"),
        (True, None, "--tile is True; expected a whole number"),
        (64, -1, "--overlap is -1; expected a whole number of pixels, at least 0"),
        (64, 1.5, r"--overlap is 1\.5; expected a whole number"),
        (64, 33, "--overlap is 33; expected at most 32, half of --tile"),
        (None, 16, "--overlap is 16, but there are no tiles; give --tile, too"),
    ],
)
def test_impossible_tilings_are_refused(tile: Any, overlap: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        make_tiling(tile, overlap)
