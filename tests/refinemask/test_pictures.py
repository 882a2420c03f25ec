"""Drawings and results of image files, skipping what cannot be used."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.pictures import picture_names, predict_files
from tests.support.bright_box import BrightBox


def write_picture(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.full((20, 30, 3), 153, np.uint8))
    return path


def test_drawings_and_results_are_written_and_the_rest_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_picture(tmp_path / "x" / "a.png"), tmp_path / "b.png", write_picture(tmp_path / "y" / "a.png")]
    (skipped,) = predict_files(BrightBox(), paths, tmp_path / "out", draw_score=0.7)
    assert "b.png: cannot be read" in skipped
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.png", "a.png", "results.json"]
    first, second = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(first)[:3] == ["image_id", "file_name", "category_id"]
    assert [(r["image_id"], r["file_name"], r["score"]) for r in (first, second)] == [
        (1, "a.png", pytest.approx(0.6)),
        (3, "a.png", pytest.approx(0.6)),
    ]
    drawn = cv2.imread(str(tmp_path / "out" / "a.png"))
    assert drawn is not None
    assert np.all(drawn == 153), "the score is too low to be drawn"
    assert capsys.readouterr().out == ""


def test_images_are_not_replaced(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "x" / "a.png")
    with pytest.raises(UserError, match=r"a\.png: is one of the images and would be overwritten"):
        predict_files(BrightBox(), [path], tmp_path / "x")
    assert not list(tmp_path.rglob("results.json"))


def test_pictures_of_the_same_name_do_not_overwrite_each_other() -> None:
    paths = [Path(name) for name in ("x/a.png", "y/a.png", "a.jpg", "a-2.png", "b.png")]
    assert picture_names(paths) == ["a.png", "a-2.png", "a-3.png", "a-2-2.png", "b.png"]
