"""The prediction command: pictures and results; a folder goes on after a bad file."""

import io
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

import engines
from refinemask.config import Window
from refinemask.predict import Args, main
from refinemask.weights import save_detector
from tests.support.bright_box import BrightBox
from tests.support.tiny_detector import make_tiny_detector
from tests.support.videos import write_video


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, an empty file, and a file that is no picture by its name."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, shape in (("a.png", (60, 90, 3)), ("b.jpg", (90, 50, 3))):
        cv2.imwrite(str(folder / name), np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))
    (folder / "c.png").touch()
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_detections_and_threshold_are_those_asked_for(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    args = Args(images=(folder,), model=checkpoint, output=tmp_path / "out", draw=False, threads=1)
    counts = []
    for asked in (args, replace(args, detections=2), replace(args, detections=30, score_threshold=0.4)):
        assert main(asked) == 0
        counts.append(len(json.loads((tmp_path / "out" / "results.json").read_text())))
    assert 0 < counts[1] <= 4
    assert counts[1] < counts[0] < counts[2]


def test_folder_goes_on_and_counts_what_it_skipped(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert main(Args(images=(folder,), model=checkpoint, output=output, draw_score=0.7, threads=1)) == 0
    assert sorted(path.name for path in output.iterdir()) == ["a.png", "b.png", "results.json"]
    captured = capsys.readouterr()
    assert "2 of 3 images predicted, 1 skipped" in captured.out
    assert re.search(r"^[0-9.e+]+ images/s, limit=\w+$", captured.err, re.MULTILINE)
    assert "c.png: the file is empty" in captured.err
    drawn = cv2.imread(str(output / "a.png"))
    assert drawn is not None
    assert drawn.shape == (427, 640, 3)
    results = json.loads((output / "results.json").read_text())
    assert {(r["image_id"], r["file_name"]) for r in results} == {(1, "a.png"), (2, "b.jpg")}
    for result in results:
        assert result["category_id"] in (3, 7)
        shape = (60, 90) if result["image_id"] == 1 else (90, 50)
        assert coco_mask.decode(result["segmentation"]).shape == shape


def test_single_bad_file_is_an_error(folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = folder / "out"
    assert main(Args(images=(folder / "c.png",), model=checkpoint, output=output)) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert not output.exists()


def test_a_precision_can_be_asked_for(folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = Args(images=(folder / "a.png",), model=checkpoint, output=folder / "out", precision="bf16")
    assert main(args) == 0
    assert "1 of 1 images predicted, 0 skipped (PyTorch bf16): " in capsys.readouterr().out


def test_nothing_but_bad_files(folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = folder / "c.png", folder / "absent.png"
    assert main(Args(images=paths, model=checkpoint, output=folder / "out")) == 1
    assert "0 of 2 images predicted" in capsys.readouterr().out
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {"images": ()}, "no image was given"),
        (lambda f: {"images": (f.parent / "empty",)}, "the folder holds no image"),
        (lambda f: {"output": None}, "no output was given; expected a folder, --output FOLDER, or --json-lines FILE"),
        (
            lambda f: {"output": None, "json_lines": "-", "masks": True},
            "--masks needs a folder: name one with --output",
        ),
        (lambda f: {"model": f / "absent.onnx"}, "no such file"),
        (lambda f: {"model": f / "notes.txt"}, "no engine for '.txt' files"),
        (lambda f: {"threads": 0}, "--threads is 0; expected at least 1"),
        (lambda f: {"tile": 16}, "--tile is 16; expected a whole number of pixels, at least 32"),
        (lambda f: {"tile": 64, "overlap": 40}, "--overlap is 40; expected at most 32, half of --tile"),
        (lambda f: {"overlap": 40}, "--overlap is 40, but there are no tiles; give --tile, too"),
        (lambda f: {"draw_score": math.nan}, "--draw-score is nan; expected a number"),
        (lambda f: {"output": f / "a.png"}, "a.png: is a file, expected the name of a folder"),
        (lambda f: {"classes": ()}, "--classes names none"),
        (lambda f: {"json_lines": str(f / "out" / "a.png")}, "is the name of an image or a video"),
        (lambda f: {"json_lines": str(f / "out" / "clip.MP4")}, "is the name of an image or a video"),
    ],
)
def test_mistakes(
    folder: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], dict[str, Any]],
    message: str,
) -> None:
    (folder.parent / "empty").mkdir()
    given: dict[str, Any] = {"images": (folder,), "model": checkpoint, "output": folder / "out"} | change(folder)
    assert main(Args(**given)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (folder / "out").exists()


def test_the_given_images_are_not_overwritten(
    folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "a.png").read_bytes()
    assert main(Args(images=(folder,), model=checkpoint, output=folder / "." / ".." / folder.name)) == 2
    assert (
        "a.png: is one of the files to read, or lies beside them, and would be overwritten; give another folder"
        in capsys.readouterr().err
    )
    assert (folder / "a.png").read_bytes() == before


@pytest.mark.parametrize("listed", [False, True])
def test_an_image_is_not_overwritten_by_the_drawing_of_another(tmp_path: Path, checkpoint: Path, listed: bool) -> None:
    images = [tmp_path / "a.jpg", tmp_path / "a.png"]
    for path in images:
        cv2.imwrite(str(path), np.zeros((40, 40, 3), np.uint8))
    before = [path.read_bytes() for path in images]
    args = Args(images=tuple(images), model=checkpoint, output=tmp_path)
    if listed:
        # Nobody knows beforehand what will come through a pipe.
        pipe = tmp_path / "list"
        os.mkfifo(pipe)
        threading.Thread(target=lambda: pipe.write_text("".join(f"{path}\n" for path in images)), daemon=True).start()
        args = replace(args, images=(), list=str(pipe))
    assert main(args) == 2
    assert [path.read_bytes() for path in images] == before


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_with_the_results_so_far(
    folder: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
    word: str,
) -> None:
    class Signalled(BrightBox):
        def detect(self, images: np.ndarray, *args: Any, **phases: Any) -> list[Any]:
            is_second = images.shape[2] > images.shape[3]
            if is_second:
                # The first drawing is the last that is written of its image.
                while not (folder / "out" / "a.png").exists():
                    time.sleep(0.01)
                os.kill(os.getpid(), number)
                time.sleep(0.5)
            return super().detect(images, *args, **phases)

    monkeypatch.setattr("engines.load", lambda *_, **__: Signalled())
    assert main(Args(images=(folder,), model=checkpoint, output=folder / "out")) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == [f"interrupted: 1 of 3 images predicted: {folder / 'out' / 'results.json'}", word]
    assert [result["image_id"] for result in json.loads((folder / "out" / "results.json").read_text())] == [1]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_output_of_any_name_is_printed(
    folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("engines.load", lambda *_, **__: BrightBox())
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    output = folder / os.fsdecode(b"\xff\xc3\xa4")
    assert main(Args(images=(folder / "a.png",), model=checkpoint, output=output, draw=False)) == 0
    assert b"1 of 1 images predicted" in written.getvalue()
    assert (output / "results.json").exists()


def test_large_pictures_are_predicted_in_tiles(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    args = Args(images=(folder / "a.png",), model=checkpoint, output=tmp_path / "whole", draw=False, threads=1)
    assert main(args) == 0
    assert main(replace(args, output=tmp_path / "one", tile=90)) == 0
    whole, one = ((tmp_path / name / "results.json").read_bytes() for name in ("whole", "one"))
    assert one == whole, "one tile is the whole picture"
    assert main(replace(args, output=tmp_path / "tiles", tile=64, overlap=16, draw=True)) == 0
    results = json.loads((tmp_path / "tiles" / "results.json").read_text())
    engine = engines.load(checkpoint, threads=1)
    [expected] = engine.predict([folder / "a.png"], tile=64, overlap=16)
    assert len(results) == len(expected) > 3
    assert [{"file_name": "a.png", **result} for result in expected.to_coco(1)] == results
    assert {tuple(result["segmentation"]["size"]) for result in results} == {(60, 90)}
    assert (tmp_path / "tiles" / "a.png").exists()


@pytest.mark.parametrize("given", ["words", "pattern", "list"])
def test_lines_replace_no_input_however_it_is_given(
    folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    # An image that is given by its name may have any ending.
    image = folder / "photo.raw"
    image.write_bytes((folder / "a.png").read_bytes())
    names = folder.parent / "names"
    names.write_text(f"{image}\n")
    ways: dict[str, dict[str, Any]] = {
        "words": {"images": (image,)},
        "pattern": {"images": (str(folder / "*.raw"),)},
        "list": {"list": str(names)},
    }
    (folder / "link.jsonl").symlink_to(image)
    for lines in (image, folder / "link.jsonl"):
        assert main(Args(model=checkpoint, json_lines=str(lines), **ways[given])) == 2
        assert "would be overwritten" in capsys.readouterr().err
    assert image.read_bytes() == (folder / "a.png").read_bytes()


def test_lines_replace_no_video(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody knows beforehand what will come through a pipe.
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"precious")
    (tmp_path / "link.jsonl").symlink_to(video)
    monkeypatch.setattr("engines.load", lambda *_, **__: BrightBox())
    for lines in (video, tmp_path / "link.jsonl"):
        assert main(Args(list="-", model=checkpoint, json_lines=str(lines))) == 2
    assert video.read_bytes() == b"precious"


@pytest.mark.parametrize("word", ["camera:99", "frameless.avi"])
def test_what_gives_nothing_is_an_error_although_its_length_is_unknown(
    tmp_path: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "frameless.avi", 0)
    monkeypatch.setattr("engines.load", lambda *_, **__: BrightBox())
    assert main(Args(images=(word,), model=checkpoint, output=tmp_path / "out")) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_every_output_of_images_and_a_video(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("engines.load", lambda *_, **__: BrightBox())
    (folder / "below").mkdir()
    (folder / "a.png").rename(folder / "below" / "a.png")
    (folder / "c.png").unlink()
    clip, listed, output = write_video(tmp_path / "clip.mp4", 9), tmp_path / "list.txt", tmp_path / "out"
    listed.write_text(f"{clip}\n")
    asked = Args(
        images=(folder,),
        model=tmp_path / "model",
        output=output,
        list=str(listed),
        recursive=True,
        every=3,
        max_frames=2,
        json_lines=str(tmp_path / "lines"),
        masks=True,
        polygons=True,
        labelme=True,
        classes=("b",),
    )
    assert main(asked) == 0
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["b.jpg", "a.png", "clip.mp4: frame 0", "clip.mp4: frame 3"]
    assert [len(line["detections"]) > 0 for line in lines] == [True, True, False, False], "frames are blue"
    places = ["b", "below/a", "clip/000000", "clip/000003"]
    assert all((output / "labelme" / f"{place}.json").exists() for place in places)
    assert all((output / "masks" / name / f"{place}.png").exists() for place, name in zip(places, "bbaa", strict=True))
    assert len(json.loads((output / "polygons.json").read_text())["images"]) == 4
    assert {path.name for path in output.iterdir()} == {
        *("b.png", "below", "clip.mp4", "masks", "polygons.json", "labelme", "results.json")
    }
    without = replace(asked, output=None, masks=False, polygons=False, labelme=False, classes=("a",))
    assert main(without) == 0
    assert all(not json.loads(line)["detections"] for line in (tmp_path / "lines").read_text().splitlines())
    assert main(replace(without, masks=True)) == 2


def test_the_window_and_the_batch_are_those_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    predictor = BrightBox()
    monkeypatch.setattr("engines.load", lambda *_, **__: predictor)
    paths = tuple(tmp_path / f"{number}.png" for number in range(4))
    for path in paths:
        cv2.imwrite(str(path), np.full((20, 30, 3), 900, np.uint16))
    args = Args(images=paths, model=tmp_path / "model", output=tmp_path / "out", draw=False, batch_size=4)
    assert main(args) == 1, "16 bits need a window"
    assert main(replace(args, window=Window(low=0, high=1000))) == 0
    assert predictor.seen == [(4, 3, 32, 64)]
