"""What evaluate refuses or skips, a comparison refuses or skips; and no report takes the place of an input."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks import ap, compare, fps
from benchmarks.harness.settings import Settings
from refinemask.config import ModelConfig
from refinemask.config_json import to_json
from tests.support.toy_onnx import CONFIG, write_toy_onnx

COMMANDS = [ap, compare]


def args_of(command: ModuleType, engines: tuple[Path, ...], images: Path, **further: Any) -> Any:
    """A command's arguments for one thread, and for every image once."""
    measured: dict[str, Any] = (
        {"threads": 1} if command is ap else {"settings": Settings(threads=1, warmup=0, batch=further.pop("batch", 1))}
    )
    return command.Args(engines=tuple(map(str, engines)), images=images, **measured, **further)


def resized(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((50, 60, 3), np.uint8))


def turned(path: Path) -> None:
    picture = Image.open(path)
    picture.getexif()[0x0112] = 6
    picture.save(path, exif=picture.getexif())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


CHANGES: list[Callable[[Path], None]] = [resized, turned, cut, Path.unlink]


@pytest.mark.parametrize(("command", "change"), [*((ap, change) for change in CHANGES), (compare, resized)])
def test_a_picture_that_is_not_as_annotated_is_skipped_and_counted(
    command: ModuleType,
    change: Callable[[Path], None],
    toy_onnx: Path,
    annotations: Path,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(pictures[1])
    output = tmp_path / "report.json"
    further = {"annotations": annotations, "output": output}
    assert command.main(args_of(command, (toy_onnx,), pictures[0].parent, **further)) == 0
    out, err = capsys.readouterr()
    assert f"skipped: {pictures[1]}: " in err
    assert "3 images, 1 skipped and not counted" in out
    report = json.loads(output.read_text())
    assert (report["batches"], report["skipped"]) == ([["0.png"], ["2.png"], ["3.png"]], ["1.png"])

    content = json.loads(annotations.read_text())
    content["images"].pop(1)
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] != 11]
    annotations.write_text(json.dumps(content))
    assert command.main(args_of(command, (toy_onnx,), pictures[0].parent, **further)) == 0
    without = json.loads(output.read_text())
    assert "skipped" not in without
    assert without["engines"][0]["accuracy"] == report["engines"][0]["accuracy"]
    assert without["engines"][0]["accuracy"]["bbox"]["AP"] == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_usable_picture_there_is_no_figure(
    command: ModuleType,
    toy_onnx: Path,
    annotations: Path,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in pictures:
        resized(path)
    assert command.main(args_of(command, (toy_onnx,), pictures[0].parent, annotations=annotations)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: none of the 4 images could be used; the first: " in err
    assert "but was annotated at 40x60" in err


def test_skipped_pictures_may_leave_a_batch_unfilled(
    toy_onnx: Path, annotations: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cut(pictures[3])
    args = args_of(compare, (toy_onnx,), pictures[0].parent, annotations=annotations, batch=2)
    assert compare.main(args) == 2
    assert "3 images do not fill batches of 2; use --limit or --batch 1" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("category", [{"id": 0}, {"name": "cell"}])
def test_other_classes_than_the_annotations_are_refused(
    category: dict[str, Any],
    command: ModuleType,
    toy_onnx: Path,
    annotations: Path,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = json.loads(annotations.read_text())
    content["categories"][0] |= category
    for each in content["annotations"]:
        each["category_id"] = content["categories"][0]["id"]
    annotations.write_text(json.dumps(content))
    assert command.main(args_of(command, (toy_onnx,), pictures[0].parent, annotations=annotations)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: toy.onnx: finds 1 classes (1 nucleus), of which none is category ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_engines_of_different_classes_are_not_compared(
    command: ModuleType,
    toy_onnx: Path,
    annotations: Path,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more: ModelConfig = replace(CONFIG, class_names=("nucleus", "cell"), category_ids=(1, 2))
    other = write_toy_onnx(tmp_path / "other.onnx", config=to_json(more))
    assert command.main(args_of(command, (toy_onnx, other), pictures[0].parent, annotations=annotations)) == 2
    assert capsys.readouterr().err == (
        "error: other.onnx: finds 2 classes (1 nucleus, 2 cell), but toy.onnx finds 1 classes (1 nucleus); "
        "compare engines of the same classes\n"
    )


def test_speed_is_measured_on_the_pictures_that_can_be_read(
    toy_onnx: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cut(pictures[0])
    assert fps.main(args_of(fps, (toy_onnx,), pictures[0].parent)) == 0
    out, err = capsys.readouterr()
    assert f"skipped: {pictures[0]}: " in err
    assert "3 images, 1 skipped and not counted" in out


@pytest.mark.parametrize(
    ("command", "own"),
    [*((command, own) for command in COMMANDS for own in ("engine", "annotations", "picture")),
     *((fps, own) for own in ("engine", "picture"))],
)  # fmt: skip
def test_an_input_is_no_output(
    command: ModuleType,
    own: str,
    toy_onnx: Path,
    annotations: Path,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = {"engine": toy_onnx, "annotations": annotations, "picture": pictures[0]}[own]
    link = tmp_path / "link"
    link.symlink_to(path)
    before = path.read_bytes()
    further = {} if command is fps else {"annotations": annotations}
    args = args_of(command, (toy_onnx,), pictures[0].parent, output=link, **further)
    assert command.main(args) == 2
    assert capsys.readouterr().err in (
        f"error: {link}: is read by this very command and would be overwritten; name another output\n",
        f"error: --output {link}: is an image and would be overwritten; name another file\n",
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", [*COMMANDS, fps])
def test_a_directory_as_output_is_told_before_anything_is_measured(
    command: ModuleType, annotations: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    further = {} if command is fps else {"annotations": annotations}
    args = args_of(command, (tmp_path / "absent.onnx",), pictures[0].parent, output=tmp_path, **further)
    assert command.main(args) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: is a directory, expected the name of a file\n"
