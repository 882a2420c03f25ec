"""A source predicted into outputs: what fails, what ends early, what is never overwritten."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.prediction import Predictor
from refinemask.sources.words import source_of
from refinemask.writers.coco_results import CocoResults
from refinemask.writers.pictures import Pictures
from refinemask.writers.write import Written, write_predictions
from refinemask.writers.writer import Writer
from tests.support.bright_box import BrightBox


def write_picture(path: Path, red: int = 200) -> Path:
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 2] = red
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def predict_files(
    predictor: Predictor, paths: Sequence[Path], output: Path, *, draw: bool = True, inputs: Sequence[Path] = ()
) -> Written:
    source = source_of(paths)
    writers: list[Writer] = [CocoResults(output / "results.json", source.total)]
    return write_predictions(predictor, source, [*writers, *([Pictures(output, inputs=inputs)] if draw else [])])


def test_an_image_that_fails_is_passed_over_and_named(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / "a.png"), tmp_path / "absent.png", write_picture(tmp_path / "b.png")]
    written = predict_files(BrightBox(), paths, tmp_path / "out")
    assert (written.predicted, written.failed, written.dropped) == (2, 1, 0)
    assert written.reasons == (f"{paths[1]}: cannot be read: No such file or directory",)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "results.json"]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(result["image_id"], result["file_name"]) for result in results] == [(1, "a.png"), (3, "b.png")]


def test_only_the_chosen_classes_are_written(tmp_path: Path) -> None:
    source = [write_picture(tmp_path / "a.png")]
    for names, count in ((["b"], 1), (["a"], 0)):
        results = tmp_path / f"{names[0]}.json"
        write_predictions(BrightBox(), source_of(source), [CocoResults(results)], class_names=names)
        assert len(json.loads(results.read_text())) == count
    predictor = BrightBox()
    with pytest.raises(UserError, match="c"):
        write_predictions(predictor, source_of(source), [], class_names=["c"])
    assert predictor.seen == []


class Stopping(BrightBox):
    """Raises an error at the third picture."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def detect(self, images: np.ndarray, *args: Any, **phases: Any) -> list[Any]:
        if images[0, 0, 0, 0] == 203:
            raise self.error
        return super().detect(images, *args, **phases)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("of a library"), OSError(28, "full")])
def test_what_ends_the_work_early_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    paths = [write_picture(tmp_path / "in" / f"{number}.png", 200 + number) for number in range(1, 6)]
    with pytest.raises(type(error)):
        predict_files(Stopping(error), paths, tmp_path / "out")
    results = tmp_path / "out" / "results.json"
    assert [result["image_id"] for result in json.loads(results.read_text())] == [1, 2]
    assert f"interrupted: 2 of 5 images predicted: {results}\n" in capsys.readouterr().err


def test_an_output_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / "in" / f"{number}.png") for number in range(3)]

    class Removing(CocoResults):
        def write(self, *args: Any) -> None:
            super().write(*args)
            if (tmp_path / "out" / "0.png").exists():
                (tmp_path / "out").rename(tmp_path / "gone")

    output = tmp_path / "out"
    writers = [Removing(output / "results.json"), Pictures(output)]
    assert write_predictions(BrightBox(), source_of(paths), writers).failed == 0
    assert sorted(path.name for path in output.iterdir()) == ["1.png", "2.png", "results.json"]
    assert len(json.loads((output / "results.json").read_text())) == 3


@pytest.mark.parametrize(
    "name", ["图" * 82 + ".png", "x" * 251 + ".png", "x" * 255], ids=["Chinese", "longest", "without ending"]
)
def test_a_long_name_does_not_stop_the_others(tmp_path: Path, name: str) -> None:
    paths = [write_picture(tmp_path / "in" / "a.png"), tmp_path / "in" / name, write_picture(tmp_path / "in" / "b.png")]
    paths[1].write_bytes(paths[0].read_bytes())
    assert predict_files(BrightBox(), paths, tmp_path / "out").failed == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [result["file_name"] for result in results] == ["a.png", name, "b.png"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / "in" / "a.png"), tmp_path / "in" / os.fsdecode(b"\xff\xfe.png")]
    paths[1].write_bytes(paths[0].read_bytes())
    assert predict_files(BrightBox(), paths, tmp_path / "out").failed == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    results = json.loads((tmp_path / "out" / "results.json").read_bytes().decode("utf-8"))
    assert [result["file_name"] for result in results] == ["a.png", "\ufffd\ufffd.png"]


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
    )
    for output in outputs:
        with pytest.raises(UserError, match="would be overwritten; give another"):
            predict_files(BrightBox(), [image] * 3, output, inputs=[model])
    assert model.read_bytes() == b"weights"
    assert cv2.imread(str(image)).shape == (20, 30, 3)  # type: ignore[union-attr]


def test_outputs_that_are_no_files_are_refused(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "in" / "a.png")
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    linked(Path("/dev/null"), tmp_path / "device" / "results.json")
    for output, reason in (
        ("out", "a.png: is a directory"),
        ("device", "results.json: is no regular file"),
        ("in/a.png", "is a file, expected the name of a folder"),
    ):
        with pytest.raises(UserError, match=reason):
            predict_files(BrightBox(), [image] * 3, tmp_path / output)
