"""A line for each image, as soon as it is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from refinemask.files import UserError
from refinemask.writers.json_lines import JsonLines
from tests.support.written import BROKEN, HEIGHT, WIDTH, boxes_of, clip, frame, prediction, put, still

ROOT = Path(__file__).resolve().parents[3]
TWO = prediction(boxes_of((1, 2, 8, 9), (9, 9, 20, 12)), labels=[1, 0])


def test_each_line_is_there_at_once_and_nothing_of_an_older_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "found.jsonl"
    path.parent.mkdir()
    path.write_text("older\n")
    with JsonLines(path) as writer:
        for number in range(1, 3):
            put(writer, still(Path("in/a.png")), TWO)
            assert len(path.read_text().splitlines()) == number
    line = json.loads(path.read_text().splitlines()[0])
    assert list(line) == ["image", "height", "width", "detections"]
    assert (line["image"], line["height"], line["width"]) == ("in/a.png", HEIGHT, WIDTH)
    expected = [result | {"class_name": name} for result, name in zip(TWO.to_coco(), ("dog", "cat"), strict=True)]
    assert line["detections"] == expected


def test_frames_have_their_time_and_failures_their_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLines(None) as writer:
        put(writer, frame(clip(), 15), prediction(boxes_of()))
        writer.fail(still(Path("b.png")), BROKEN)
        writer.fail(frame(clip(), 16), BROKEN)
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["video"], first["frame"], first["seconds"], first["detections"]) == ("clip.mp4", 15, 1.5, [])
    assert second == {"image": "b.png", "error": "broken"}
    assert (third["frame"], third["error"]) == (16, "broken")


def test_names_that_are_not_utf8_are_valid_json(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "a.jsonl") as writer:
        put(writer, still(Path(os.fsdecode(b"\xff.png"))), TWO)
    assert json.loads((tmp_path / "a.jsonl").read_bytes().decode())["image"] == "\ufffd.png"


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with JsonLines(path) as writer:
        put(writer, still(Path("a.png")), TWO)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
        try:
            with pytest.raises(UserError, match=r"a\.jsonl: cannot be written: File too large"):
                put(writer, still(Path("b.png")), TWO)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["a.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="a reader that goes away is told otherwise there")
def test_a_reader_that_goes_away_ends_it_as_commands_end() -> None:
    script = """
from pathlib import Path
from refinemask.exit_codes import exit_code
from refinemask.writers.json_lines import JsonLines
from tests.support.written import boxes_of, prediction, put, still
def run():
    with JsonLines(None) as writer:
        while True:
            put(writer, still(Path("a.png")), prediction(boxes_of((1, 2, 8, 9))))
raise SystemExit(exit_code(run))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_standard_output_that_is_closed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UserError, match="standard output is closed"):
        JsonLines(None)


def test_a_file_that_another_writes_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with JsonLines(path) as writer:
        put(writer, still(Path("a.png")), TWO)
        with pytest.raises(UserError, match=r"a\.jsonl: another process writes to it"):
            JsonLines(path).__enter__()
        put(writer, still(Path("b.png")), TWO)
    assert [json.loads(line)["image"] for line in path.read_text().splitlines()] == ["a.png", "b.png"]
    with JsonLines(path):
        assert path.read_text() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_lines_are_not_lost_without_a_word(tmp_path: Path) -> None:
    writer = JsonLines(tmp_path / "a.jsonl")
    writer.__enter__()
    writer.path.unlink()  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"a\.jsonl: was removed while it was written"):
        writer.__exit__(None, None, None)
