"""Drawings keep the folders of the images, and never replace one."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.writers.pictures import Pictures
from tests.support.written import PIXELS, boxes_of, clip, frame, prediction, put, still

FOUND = prediction(boxes_of((1, 2, 8, 9)))


def test_a_drawing_is_that_of_the_prediction(tmp_path: Path) -> None:
    with Pictures(tmp_path / "out", 0.5) as writer:
        put(writer, still(Path("in/street/a.jpg"), "street/a.b"), FOUND)
        put(writer, frame(clip(), 3), FOUND)
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert names == ["clip/000003.png", "street/a.b.png"]
    drawn = cv2.imread(str(tmp_path / "out" / "street" / "a.b.png"))
    assert drawn is not None
    np.testing.assert_array_equal(drawn[..., ::-1], FOUND.draw(PIXELS))


def test_the_score_decides_what_is_drawn(tmp_path: Path) -> None:
    with Pictures(tmp_path, 0.95) as writer:
        put(writer, still(Path("a.jpg")), FOUND)
    drawn = cv2.imread(str(tmp_path / "a.png"))
    assert drawn is not None
    assert np.all(drawn == 153)


def test_no_input_is_replaced_under_whatever_name(tmp_path: Path) -> None:
    image, other = tmp_path / "in" / "a.png", tmp_path / "in" / "b.jpg"
    image.parent.mkdir()
    image.write_bytes(b"precious")
    other.write_bytes(b"precious")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.png").symlink_to(other)
    for folder, item, inputs in (
        (image.parent, still(image), ()),
        (tmp_path / "links", still(other), ()),
        (tmp_path / "links", still(image, "b"), (other,)),
    ):
        with Pictures(folder, inputs=inputs) as writer, pytest.raises(UserError, match="is one of the files to read"):
            put(writer, item, FOUND)
    assert image.read_bytes() == other.read_bytes() == b"precious"


def test_drawing_needs_its_extra_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.delitem(sys.modules, "refinemask.drawing", raising=False)
    with pytest.raises(UserError, match=r"drawing needs supervision, .*refinemask\[draw\].*--no-draw"):
        Pictures(tmp_path)


def test_the_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out: is a file, expected the name of a folder"):
        Pictures(tmp_path / "out")


@pytest.mark.parametrize("inputs", [(), None])
def test_a_picture_beside_the_image_is_not_replaced(tmp_path: Path, inputs: tuple[Path, ...] | None) -> None:
    (tmp_path / "a.png").write_bytes(b"precious")
    with Pictures(tmp_path / ".", inputs=inputs) as writer, pytest.raises(UserError, match="lies beside them"):
        put(writer, still(tmp_path / "a.jpg"), FOUND)
    assert (tmp_path / "a.png").read_bytes() == b"precious"
    with Pictures(tmp_path / "out", inputs=inputs) as writer:
        for _ in range(2):
            put(writer, still(tmp_path / "a.jpg"), FOUND)
