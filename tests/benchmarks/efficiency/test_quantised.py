"""int8 in OpenVINO from one command: what is calibrated, quantised and measured."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare
from benchmarks.efficiency import quantised, run
from export import MismatchError
from refinemask.agreement import PARITY
from tests.support.engine_reports import make_comparison, make_engine
from tests.support.toy_onnx import read_properties, write_toy_onnx

FILES = ["mask-rcnn-64x96-int8.onnx", "refinemask-64x96-int8.onnx"]


class Calls(list[tuple[str, str, str | None]]):
    """Names of the files that were quantised: from, to, and the ranges that were given."""

    refuse = False

    def quantise(self, timeout: None, function: object, model: Path, output: Path, **options: Any) -> None:
        if self.refuse:
            raise MismatchError("not written, 3 of 100 detections agree", [], PARITY["int8"])
        self.append((model.name, output.name, options["ranges"] and options["ranges"].name))
        write_toy_onnx(output, **(read_properties(model) | {"precision": "int8"}))
        output.with_suffix(".ranges.json").write_text("ranges")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(quantised, "call_in_child", calls.quantise)
    monkeypatch.setattr(
        run, "measure", lambda engines, *_: make_comparison([make_engine(engine=Path(e).name) for e in engines])
    )
    monkeypatch.setattr(run, "build_report", lambda measured: measured)
    return calls


def measured(
    monkeypatch: pytest.MonkeyPatch, checkpoints: list[Path], work: Path, images: Path, output: Path
) -> tuple[int, list[str]]:
    """Runs the command: exit code, and the engines in the report."""
    arguments = ["--table", "efficiency", *checkpoints, "--work", work, "--output", output, "--size", "64x96"]
    arguments += ["--images", images, "--backends", "openvino:int8+bf16"]
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
    code = compare.main()
    report = json.loads(output.read_text()) if output.exists() else {"backends": []}
    return code, [engine["engine"] for backend in report["backends"] for engine in backend["engines"]]


def test_one_command_quantises_and_measures(
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    checkpoints: list[Path],
    work: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    for _ in range(2):
        code, rows = measured(monkeypatch, checkpoints, work, pictures[0].parent, tmp_path / "table.json")
        assert (code, rows) == (0, [f"{file}@openvino:int8+bf16" for file in FILES])
    assert calls == [(file.replace("-int8", ""), file, None) for file in FILES], "once: the second run has them"


def test_ranges_of_one_size_serve_the_other(
    calls: Calls, checkpoints: list[Path], work: Path, pictures: list[Path]
) -> None:
    source = run.find_sources(checkpoints, work)[0]
    for size in ((64, 96), None):
        quantised.quantised(source, work, pictures[0].parent, size, (64, 96))
    assert [ranges for _, _, ranges in calls] == [None, "mask-rcnn-64x96-int8.ranges.json"]


def test_a_file_that_is_too_far_is_named(
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    checkpoints: list[Path],
    work: Path,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls.refuse = True
    assert measured(monkeypatch, checkpoints, work, pictures[0].parent, tmp_path / "table.json") == (2, [])
    error = capsys.readouterr().err
    assert "could not be quantised: not written, 3 of 100 detections agree" in error
    assert error.count("\n") == 1
