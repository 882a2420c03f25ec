"""Dataclasses to JSON and back."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.harness.report_file import ABSENT_IF_NONE, print_json, read_report, to_json, write_report
from refinemask.files import UserError


@dataclass(frozen=True)
class Point:
    x: float
    name: str | None = None
    colour: str | None = field(default=None, metadata=ABSENT_IF_NONE)


@dataclass(frozen=True)
class Drawing:
    points: tuple[Point, ...]
    by_name: dict[str, Point]
    size: tuple[int, int] | None
    origin: Point | None = None


DRAWING = Drawing((Point(1.5), Point(2, "b", "red")), {"c": Point(3)}, (4, 5))
JSON = {
    "points": [{"x": 1.5, "name": None}, {"x": 2, "name": "b", "colour": "red"}],
    "by_name": {"c": {"x": 3, "name": None}},
    "size": [4, 5],
    "origin": None,
}


def test_keys_are_the_fields_but_for_those_that_are_absent_if_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert to_json(DRAWING) == JSON
    print_json(DRAWING)
    assert json.loads(capsys.readouterr().out) == JSON


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "drawing.json"
    write_report(DRAWING, path)
    assert json.loads(path.read_text()) == JSON
    assert '"size": [4, 5]' in path.read_text()
    assert read_report(Drawing, path) == DRAWING


def test_no_path_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(DRAWING, None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_an_earlier_version_may_lack_what_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "drawing.json"
    path.write_text('{"points": [{"x": 1}], "by_name": {}, "size": null}')
    assert read_report(Drawing, path) == Drawing((Point(1),), {}, None)


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", "{}", '{"points": 1, "by_name": {}, "size": null}', '{"lines": []}', "[" * 100_000]
)
def test_something_else_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"other\.json: expected the JSON of Drawing: .*; measure anew$"):
        read_report(Drawing, path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        read_report(Drawing, tmp_path / "absent.json")
