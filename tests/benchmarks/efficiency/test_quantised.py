"""int8 in OpenVINO from one command: what is calibrated, quantised and measured."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks import compare
from benchmarks.efficiency import quantised, run
from benchmarks.efficiency.files import Source
from benchmarks.efficiency.models import MODELS
from engines.quantised.layers import quantised_layers
from export import MismatchError
from export.calibration.ranges import read_calibration
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


@pytest.fixture
def tiny(tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A real model with random weights, which has been exported, and whose quantised file nothing can be near to."""

    def call(_: None, function: Callable[..., object], *given: Any, **options: Any) -> object:
        assert function is not quantised.quantize_onnx, "would be compared"
        return function(*given, **options)

    monkeypatch.setattr(quantised, "call_in_child", call)
    monkeypatch.setattr(quantised, "exported", lambda *_: tiny_files[1])
    return Source(MODELS[-1], tiny_files[0], random=True)


def test_random_weights_are_compared_with_nothing(
    tiny: Source, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size in ((64, 96), None):
        path = quantised.quantised(tiny, tmp_path, pictures[0].parent, size, (64, 96))
        assert list(quantised_layers(onnx.load(path).graph))
        line = f"quantising {path.name}, compared with nothing, because its weights are random\n"
        assert capsys.readouterr().out == line
        assert quantised.quantised(tiny, tmp_path, pictures[0].parent, size, (64, 96)) == path
        assert capsys.readouterr().out == "", "it is made once"
    ranges = tmp_path / "refinemask-64x96-int8.ranges.json"
    assert read_calibration(ranges).images == len(pictures)
    assert sorted(found.name for found in tmp_path.glob("*.ranges.*")) == [ranges.name], "one calibration for all sizes"


def test_given_weights_are_compared(tiny: Source, pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="would be compared"):
        quantised.quantised(dataclasses.replace(tiny, random=False), tmp_path, pictures[0].parent, None, (64, 96))
