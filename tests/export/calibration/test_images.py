"""Choosing images to calibrate on and to compare on."""

import json
from pathlib import Path

import numpy as np
import pytest

from export.calibration.images import choose_images, spread
from refinemask.bundled import NUCLEI
from refinemask.config import Window
from refinemask.files import UserError
from tests.support.image_files import png

ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"


def grey(path: Path, value: int, kind: type = np.uint8) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png(np.full((9, 8), value, kind)))
    return path


def test_images_to_calibrate_on_are_not_compared_on() -> None:
    for annotations in (ANNOTATIONS, None):
        choice = choose_images(NUCLEI / "images", annotations, 10)
        assert (len(choice.calibration), len(choice.held_out)) == (10, 6)
        assert not set(choice.calibration) & set(choice.held_out)


def test_only_images_that_are_listed_are_used() -> None:
    listed = {NUCLEI / "images" / entry["file_name"] for entry in json.loads(ANNOTATIONS.read_text())["images"]}
    choice = choose_images(NUCLEI / "images", ANNOTATIONS, 40)
    assert {*choice.calibration, *choice.held_out} == listed


def test_a_directory_is_looked_through_in_the_order_of_names(tmp_path: Path) -> None:
    paths = [grey(tmp_path / name, 1) for name in ("b.png", "c/a.png", "c/d.png", "e.png", "f.png")]
    (tmp_path / "notes.txt").write_text("no image")
    choice = choose_images(tmp_path, None, 3)
    assert set(choice.calibration) | set(choice.held_out) == set(paths)
    assert len(choice.calibration) == 3
    assert choose_images(tmp_path, None, 3) == choice


def test_one_image_serves_for_both(tmp_path: Path) -> None:
    path = grey(tmp_path / "a.png", 7)
    choice = choose_images(tmp_path, None, 64)
    assert choice.calibration == choice.held_out == (path,)
    np.testing.assert_array_equal(choice.read(path), np.full((9, 8, 3), 7))


def test_other_contents_are_another_choice(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", 7)
    first = choose_images(tmp_path, None, 1)
    grey(tmp_path / "a.png", 8)
    assert choose_images(tmp_path, None, 1).sha256 != first.sha256


def test_deep_images_are_seen_through_the_window(tmp_path: Path) -> None:
    path = grey(tmp_path / "a.png", 4080, np.uint16)
    choice = choose_images(tmp_path, None, 1, Window(low=0, high=4080))
    np.testing.assert_array_equal(choice.read(path), np.full((9, 8, 3), 255))
    with pytest.raises(UserError, match="--window LOW HIGH"):
        choose_images(tmp_path, None, 1)


def test_directories_and_lists_without_usable_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder holds no image"):
        choose_images(tmp_path, None, 1)
    with pytest.raises(UserError, match="absent: cannot be read"):
        choose_images(tmp_path / "absent", None, 1)
    (tmp_path / "a.png").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"a\.png: not an image of a known format"):
        choose_images(tmp_path, None, 1)
    empty = tmp_path / "a.json"
    empty.write_text(json.dumps({"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}))
    with pytest.raises(UserError, match=r"a\.json: .*images"):
        choose_images(tmp_path, empty, 1)


@pytest.mark.parametrize(
    ("total", "count", "expected"), [(1, 64, [0]), (5, 1, [0]), (5, 3, [0, 2, 4]), (3, 9, [0, 1, 2])]
)
def test_spread_evenly(total: int, count: int, expected: list[int]) -> None:
    assert spread(total, count) == expected
