"""The file of predictions survives damage and full disks, belongs to its source, and is written by one process."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refinemask.evaluation.prediction_file import PredictionFile, scratch_predictions
from refinemask.files import UserError

SOURCE = {"model": "a", "annotations": "b"}
RESULT = {"category_id": 9, "bbox": [0.0, 0.0, 1.0, 1.0], "score": 0.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of the images 1 to 4."""
    path = tmp_path / "p.jsonl"
    with PredictionFile(path, SOURCE) as predictions:
        for image_id in (1, 2, 3, 4):
            predictions.append(image_id, [RESULT], f"{image_id:02x}")
    return path


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file become larger, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_was_appended_is_read_after_opening_again(path: Path) -> None:
    with PredictionFile(path, SOURCE) as predictions:
        assert list(predictions) == [1, 2, 3, 4]
        assert predictions[3] == [{"image_id": 3, **RESULT}]
        assert predictions.picture(3) == "03"
    assert all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines()), "every line is JSON"


def torn(line: bytes) -> bytes:
    return line[: len(line) // 2] + b"\n"


def changed_digit(line: bytes) -> bytes:
    return line.replace(b"0.5", b"0.7")


def foreign_json(line: bytes) -> bytes:
    return b'{"image_id": 2}\n'


def bare_json(line: bytes) -> bytes:
    return b"[" * 100_000 + b"\n"


def without_end(line: bytes) -> bytes:
    return line[:-1]


@pytest.mark.parametrize("damage", [torn, changed_digit, foreign_json, bare_json, without_end])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_damaged_line_is_dropped_wherever_it_is(
    path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes], number: int
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = damage(lines[number])
    path.write_bytes(b"".join(lines))
    lost = {number, number + 1} - {5} if damage is without_end else {number}
    with PredictionFile(path, SOURCE) as predictions:
        assert {*predictions} == {1, 2, 3, 4} - lost
        # The last line without its end is what every interruption leaves.
        expected = "" if lost == {4} and damage is without_end else f"{path}: 1 line is damaged and not used"
        assert capsys.readouterr().err.startswith(expected)
        for image_id in lost:
            predictions.append(image_id, [RESULT])
    with PredictionFile(path, SOURCE) as predictions:
        assert {*predictions} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("source", "differing"),
    [
        ({**SOURCE, "model": "x"}, "another model;"),
        ({**SOURCE, "annotations": "x"}, "other annotations;"),
        ({"model": "x", "annotations": "x"}, "other annotations and another model;"),
        ({**SOURCE, "precision": "fp16"}, "another precision;"),
    ],
)
def test_predictions_of_another_source_are_refused_and_say_of_which(
    path: Path, source: dict[str, str], differing: str
) -> None:
    content = path.read_bytes()
    with pytest.raises(UserError, match=rf"p\.jsonl: holds predictions of {differing} name another file"):
        PredictionFile(path, source)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a picture, not predictions", "is no prediction file, and stays as it is"),
        (b'{"images": [], "annotations": []}', "is no prediction file, and stays as it is"),
        (b'[{"image_id": 1, "score": 0.9}]\n', "is no prediction file, and stays as it is"),
        (b'{"predictions": 5}\n', "is no prediction file, and stays as it is"),
        (b"[" * 100_000, "is no prediction file, and stays as it is"),
        (b"{\n", "is no prediction file, and stays as it is"),
        (b'{"predictions": {"model": "a"}, "format": 2}\n', "an older version wrote it, which did not record all"),
        (b'{"predictions": {"model": "a", "annotations": "b"}}\n', "an older version wrote it, which did not record"),
    ],
)
def test_other_files_are_refused_and_nobody_is_told_to_delete_them(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.json: {reason}.*; name another file") as refused:
        PredictionFile(path, SOURCE)
    assert "delete" not in str(refused.value)
    assert path.read_bytes() == content


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "is a directory"), (Path("/dev/null"), "is no regular file")):
        with pytest.raises(UserError, match=reason):
            PredictionFile(path, SOURCE)


def test_a_second_process_is_refused_until_the_first_ends(path: Path) -> None:
    script = (
        "import sys\nfrom refinemask.evaluation.prediction_file import PredictionFile\n"
        f"predictions = PredictionFile(sys.argv[1], {SOURCE})\nprint('open', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        content = path.read_bytes()
        with pytest.raises(UserError, match=r"p\.jsonl: another process writes predictions to it"):
            PredictionFile(path, SOURCE)
        assert path.read_bytes() == content
        other.kill()
    with PredictionFile(path, SOURCE) as predictions:
        assert len(predictions) == 4


def test_a_full_disk_is_named_and_leaves_whole_lines(path: Path) -> None:
    content = path.read_bytes()
    with PredictionFile(path, SOURCE) as predictions:
        with room(len(content) + 20), pytest.raises(UserError, match=r"p\.jsonl: cannot be written: File too large"):
            predictions.append(5, [RESULT])
        assert list(predictions) == [1, 2, 3, 4]
        assert path.read_bytes() == content
        predictions.append(5, [RESULT])
    with PredictionFile(path, SOURCE) as predictions:
        assert list(predictions) == [1, 2, 3, 4, 5]


def test_a_file_changed_while_it_is_open_is_an_error(path: Path) -> None:
    with PredictionFile(path, SOURCE) as predictions:
        os.truncate(path, 100)
        with pytest.raises(UserError, match="was changed or damaged meanwhile"):
            predictions[4]


def test_no_folder_for_temporary_files_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: str) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("refinemask.evaluation.prediction_file.TemporaryDirectory", fail)
    with pytest.raises(UserError, match=r"No usable temporary directory found.*TMPDIR"), scratch_predictions():
        pass


def test_to_ask_for_an_image_reads_no_results(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PredictionFile(path, SOURCE) as predictions:
        predictions.append(1, [], "")
        monkeypatch.setattr(PredictionFile, "__getitem__", None)
        assert 1 in predictions
        assert 10**9 not in predictions
