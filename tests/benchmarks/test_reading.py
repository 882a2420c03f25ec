"""The benchmark of reading makes a file of any size and reads it in a process of its own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import reading
from benchmarks.reading import Args, main, read, write_repeated
from refinemask.data.coco import read_coco


def test_time_and_memory_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(images=30, objects=200)) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["objects"]) == (30, 200)
    for name, findings in (("valid", 0), ("imperfect", 1)):
        assert report[name]["objects"] == 200
        assert report[name]["findings"] == findings
        assert report[name]["seconds"] >= 0


def test_the_annotations_are_new_ones(tmp_path: Path) -> None:
    write_repeated(tmp_path / "a.json", 30, 200)
    dataset = read_coco(tmp_path / "a.json")
    objects = [annotation for group in dataset.annotations.values() for annotation in group]
    assert [annotation.id for annotation in objects] == list(range(1, 201))
    assert len({str(annotation.segmentation) for annotation in objects}) > 120


def test_an_object_that_is_not_read_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_less(timeout: Any, function: Any, path: Path) -> reading.Reading:
        return replace(read(path), objects=19)

    monkeypatch.setattr(reading, "call_in_child", one_less)
    assert main(Args(images=3, objects=20)) == 1
    assert "expected 20 objects" in capsys.readouterr().err
