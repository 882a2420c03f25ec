"""Covered images give the numbers of detections that are wanted."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.scaling.covers import filled, find_covers, write_cover
from benchmarks.scaling.report import Setting
from refinemask.data.images import read_image

BASE = Setting(size=(64, 96), batch=2, threads=1)


class Counter:
    """An engine that finds an object in every second column that is not of the cover's colour."""

    def process(self, paths: Sequence[Path], canvas: tuple[int, int]) -> tuple[Any, list[object]]:
        assert (len(paths), canvas) == (2, BASE.size)
        counts = [int((read_image(path)[0, ::2, 0] == 255).sum()) for path in paths]
        return SimpleNamespace(detections=counts), []


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three images of up to 40 objects."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        pixels = np.full((4, 80, 3), 255, np.uint8)
        pixels[1:] = 0
        cv2.imwrite(str(path), pixels)
    return paths


def test_the_wanted_numbers_are_met_or_missing(images: list[Path], tmp_path: Path) -> None:
    worker: Any = Counter()
    covers = find_covers(worker, images, (0, 5, 40, 100), BASE, tmp_path)
    assert [(each.wanted, each.found) for each in covers] == [(0, 0), (0, 0), (5, 5), (5, 5), (40, 40), (40, 40)]
    assert {each.image for each in covers} <= {path.name for path in images}
    assert len({each.image for each in covers if each.wanted == 40}) == 2


def test_a_cover_has_the_image_s_mean_colour_and_size(images: list[Path], tmp_path: Path) -> None:
    pixels, covered = read_image(images[0]), read_image(write_cover(images[0], 0.25, tmp_path))
    assert covered.shape == pixels.shape
    assert (covered[:, 60:] == pixels[:, 60:]).all()
    assert (covered[:, :60] == 64).all()
    assert (read_image(write_cover(images[0], 1.0, tmp_path)) == pixels).all()


def test_a_batch_that_is_not_full_begins_again() -> None:
    a, b, c = (Path(name) for name in "abc")
    assert filled([a, b, c], 2) == [[a, b], [c, a]]
    assert filled([a], 3) == [[a, a, a]]
