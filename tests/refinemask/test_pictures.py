"""Drawings and results of image files, skipping what cannot be used."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from refinemask.pictures import picture_names, predict_files

from refinemask import pictures
from refinemask.files import UserError
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


def test_names_that_are_too_long_are_cut_and_stay_different() -> None:
    long = "图" * 82
    names = picture_names([Path(f"{long}.png"), Path(f"{long}字.jpg"), Path(f"{long}片.jpg"), Path("x" * 251 + ".bmp")])
    assert names[0] == f"{long}.png", "250 bytes are not too many"
    assert names[3] == "x" * 251 + ".png"
    assert len(set(names)) == 4
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert picture_names([Path("x" * 255), Path("x" * 255)]) == ["x" * 251 + ".png", "x" * 249 + "-2.png"]


@pytest.mark.parametrize(
    "name", ["图" * 82 + ".png", "x" * 251 + ".png", "x" * 255], ids=["Chinese", "longest", "without ending"]
)
def test_a_long_name_does_not_stop_the_others(tmp_path: Path, name: str) -> None:
    paths = [write_picture(tmp_path / "in" / "a.png"), tmp_path / "in" / name, write_picture(tmp_path / "in" / "b.png")]
    paths[1].write_bytes(paths[0].read_bytes())
    assert predict_files(BrightBox(), paths, tmp_path / "out") == []
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [result["file_name"] for result in results] == ["a.png", name, "b.png"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / "in" / "a.png"), tmp_path / "in" / os.fsdecode(b"\xff\xfe.png")]
    paths[1].write_bytes(paths[0].read_bytes())
    assert predict_files(BrightBox(), paths, tmp_path / "out") == []
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    results = json.loads((tmp_path / "out" / "results.json").read_bytes().decode("utf-8"))
    assert [result["file_name"] for result in results] == ["a.png", "\ufffd\ufffd.png"]
    for result in results:
        result["file_name"].encode("utf-8")


class Stopping(BrightBox):
    """Raises an error at the third image."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def detect(self, *args: Any, **phases: Any) -> list[Any]:
        if len(self.seen) == 2:
            raise self.error
        return super().detect(*args, **phases)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("of a library"), OSError(28, "full")])
def test_what_ends_the_work_early_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    paths = [write_picture(tmp_path / "in" / f"{number}.png") for number in range(5)]
    with pytest.raises(type(error)):
        predict_files(Stopping(error), paths, tmp_path / "out")
    results = tmp_path / "out" / "results.json"
    assert [result["image_id"] for result in json.loads(results.read_text())] == [1, 2]
    assert f"interrupted: 2 of 5 images predicted: {results}\n" in capsys.readouterr().err


def test_an_output_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / "in" / f"{number}.png") for number in range(3)]

    class Removing(BrightBox):
        def detect(self, *args: Any, **phases: Any) -> list[Any]:
            if len(self.seen) == 2:
                (tmp_path / "out").rename(tmp_path / "gone")
            return super().detect(*args, **phases)

    assert predict_files(Removing(), paths, tmp_path / "out") == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["2.png", "results.json"]
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == 3


def test_results_that_cannot_be_written_are_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_picture(tmp_path / "in" / f"{number}.png") for number in range(2)]
    write = pictures.export_results

    def full(results: Any, path: Path) -> None:
        if path.parent == tmp_path / "out":
            raise UserError(f"{path}: cannot be written: No space left on device")
        write(results, path)

    monkeypatch.setattr(pictures, "export_results", full)
    monkeypatch.setattr(pictures, "mkdtemp", lambda prefix: str(tmp_path))
    with pytest.raises(
        UserError, match=r"out/results\.json: .*No space.*; the results of 2 images are in .*results\.json"
    ):
        predict_files(BrightBox(), paths, tmp_path / "out", draw=False)
    assert len(json.loads((tmp_path / "results.json").read_text())) == 2


def test_a_picture_that_cannot_be_written_stops_with_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_picture(tmp_path / "in" / f"{number}.png") for number in range(3)]
    monkeypatch.setattr("refinemask.png.cv2.imencode", lambda *_: (False, None))
    with pytest.raises(UserError, match=r"0\.png: OpenCV makes no PNG"):
        predict_files(BrightBox(), paths, tmp_path / "out")
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == 1


def linked(target: Path, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    return path


def test_no_output_replaces_an_input_whatever_it_is_called(tmp_path: Path) -> None:
    image, model = write_picture(tmp_path / "in" / "a.png"), tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    hard = tmp_path / "hard" / "a.png"
    hard.parent.mkdir()
    hard.hardlink_to(image)
    outputs: Sequence[Path] = (
        hard.parent,
        linked(image, tmp_path / "soft" / "a.png").parent,
        linked(model, tmp_path / "weights" / "a.png").parent,
        linked(model, tmp_path / "results" / "results.json").parent,
    )
    for output in outputs:
        predictor = BrightBox()
        with pytest.raises(UserError, match="and would be overwritten; give another --output"):
            predict_files(predictor, [image], output, model=model)
        assert predictor.seen == []
    assert model.read_bytes() == b"weights"


def test_outputs_that_are_no_files_are_refused_before_anything_is_predicted(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "in" / "a.png")
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    linked(Path("/dev/null"), tmp_path / "device" / "results.json")
    for output, reason in (
        ("out", "a.png: is a directory"),
        ("device", "results.json: is no regular file"),
        ("in/a.png", "is a file, expected the name of a folder"),
    ):
        predictor = BrightBox()
        with pytest.raises(UserError, match=reason):
            predict_files(predictor, [image], tmp_path / output)
        assert predictor.seen == []
