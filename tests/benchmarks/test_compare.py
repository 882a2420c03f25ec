"""Accuracy beside speed: what an engine finds is taken for the truth, and found again."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from benchmarks import ap, compare
from benchmarks.harness.settings import Settings
from tests.support.found_again import write_annotations


def test_finds_again_what_was_not_moved(
    toy_onnx: Path, annotations: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.json"
    args = compare.Args(
        engines=(str(toy_onnx), f"{toy_onnx}@onnxruntime"),
        annotations=annotations,
        images=pictures[0].parent,
        output=output,
        settings=Settings(threads=1, warmup=0, rounds=6),
    )
    assert compare.main(args) == 0
    first, second = json.loads(output.read_text())["engines"]
    assert first["accuracy"] == second["accuracy"]
    assert first["accuracy"]["bbox"]["AP"] == 1
    assert 0.7 < first["accuracy"]["segm"]["AP"] < 1
    assert first["latency_ms"]["engine"]["n"] == 6
    assert "+0.00" in capsys.readouterr().out


def test_a_compiled_package_is_compared_with_the_checkpoint_that_it_comes_from(
    tiny_package: Path, pictures: list[Path], tmp_path: Path
) -> None:
    eager = engines.load(tiny_package.with_suffix(".safetensors"), threads=1)
    output = tmp_path / "report.json"
    args = compare.Args(
        engines=(f"{tiny_package}@compiled:fp32", str(tiny_package.with_suffix(".safetensors"))),
        annotations=write_annotations(eager, pictures, tmp_path / "annotations.json"),
        images=pictures[0].parent,
        output=output,
        settings=Settings(threads=1, warmup=0, rounds=2),
    )
    assert compare.main(args) == 0
    first, second = json.loads(output.read_text())["engines"]
    assert (first["name"], second["name"]) == ("compiled PyTorch", "PyTorch")
    assert first["precision"] == second["precision"] == "fp32"
    for report in (first, second):
        assert report["accuracy"]["bbox"]["AP"] > 0.5
        assert report["latency_ms"]["engine"]["n"] == 2


def args_with(engines: tuple[str, ...], annotations: Path, pictures: list[Path], **further: Any) -> compare.Args:
    settings = Settings(threads=1, warmup=0, rounds=6)
    return compare.Args(
        engines=engines, annotations=annotations, images=pictures[0].parent, settings=settings, **further
    )


def test_a_gate_stops_an_engine_whose_masks_broke(
    toy_onnx: Path, annotations: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(toy_onnx)
    [expand] = [node for node in model.graph.node if node.op_type == "Expand"]
    expand.output[0] = "unbiased"
    model.graph.node.append(onnx.helper.make_node("Add", ["unbiased", "bias"], ["masks"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(-0.4, np.float32), "bias"))
    broken, output = tmp_path / "broken.onnx", tmp_path / "report.json"
    onnx.save(model, broken)
    engines, gates = (str(toy_onnx), str(toy_onnx), str(broken)), ("ΔAP >= -0.2", "Δbox_ap >= 0", "box ap > 99")
    assert compare.main(args_with(engines, annotations, pictures, output=output, require=gates)) == 3
    failed = capsys.readouterr().err.splitlines()
    [line] = [line for line in failed if line.startswith("not met: ")]
    assert line.startswith("not met: ΔAP >= -0.2: broken.onnx has -")
    assert line.endswith(" at the worse end of its 95 % interval")
    outcomes = json.loads(output.read_text())["requirements"]
    assert [(each["requirement"], each["engine"], each["met"]) for each in outcomes] == [
        ("ΔAP >= -0.2", "toy.onnx", True),
        ("ΔAP >= -0.2", "broken.onnx", False),
        ("Δbox_ap >= 0", "toy.onnx", True),
        ("Δbox_ap >= 0", "broken.onnx", True),
        *(("box ap > 99", each, True) for each in ("toy.onnx", "toy.onnx", "broken.onnx")),
    ]
    assert outcomes[1]["judged"] < outcomes[1]["value"] < -10


def test_a_misspelt_requirement_is_told_before_anything_is_measured(
    annotations: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    args = args_with(("absent.onnx",), annotations, pictures, require=("boundry_ap >= 50",))
    assert compare.main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "error: --require 'boundry_ap >= 50': 'boundry_ap' is no figure (did you mean 'boundary_ap'?)"
    )
    assert error.count("\n") == 1


def test_equal_engines_differ_by_nothing_and_without_resamples_there_is_no_interval(
    toy_onnx: Path, annotations: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.json"
    engines = str(toy_onnx), str(toy_onnx)
    assert compare.main(args_with(engines, annotations, pictures, output=output)) == 0
    assert "+0.00…+0.00" in capsys.readouterr().out
    first, second = json.loads(output.read_text())["engines"]
    assert first["detail"]["change"] == {}
    for kind in ("bbox", "segm", "boundary"):
        assert second["detail"]["change"][kind] == {"value": 0, "low": 0, "high": 0}
        ap = second["detail"]["ap"][kind]
        assert ap["value"] == second["accuracy"][kind]["AP"] == second["detail"]["per_class"][kind]["nucleus"]
        assert 0 <= ap["low"] <= ap["value"] <= ap["high"] <= 1
        assert len(second["detail"]["precision_recall"][kind]["AP75"]) == 101

    gates = "ΔAP >= -100", "speedup > 0"
    assert compare.main(args_with(engines, annotations, pictures, output=output, resamples=0, require=gates)) == 3
    assert "not met: ΔAP >= -100: toy.onnx has no interval: measure with --resamples" in capsys.readouterr().err
    assert json.loads(output.read_text())["engines"][1]["detail"]["ap"] == {}


def test_ap_alone(toy_onnx: Path, annotations: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ap.Args(engines=(str(toy_onnx),), annotations=annotations, images=pictures[0].parent, threads=1)
    assert ap.main(arguments) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "ONNX Runtime" in line]
    assert [row[3].strip() for row in rows] == ["boxes", "masks", "boundaries"]
    assert rows[0][4].strip() == "100.00"


@pytest.mark.parametrize(
    ("command", "option"), [(compare, "--rounds"), (compare, "--limit"), (ap, "--threads"), (ap, "--limit")]
)
def test_counts_below_one_are_one_line_and_code_2(
    command: ModuleType,
    option: str,
    annotations: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = ["--annotations", str(annotations), "--images", str(annotations.parent / "pictures")]
    monkeypatch.setattr(sys, "argv", ["command", "a.onnx", *files, option, "-1"])
    assert command.main() == 2
    assert capsys.readouterr().err == f"error: {option} is -1; expected at least 1\n"


@pytest.mark.parametrize("command", [compare, ap])
@pytest.mark.parametrize(("annotated", "directory"), [("absent.json", "."), ("annotations.json", "absent")])
def test_mistakes_are_one_line_and_code_2(
    command: ModuleType,
    annotated: str,
    directory: str,
    annotations: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = command.Args(engines=("a.onnx",), annotations=tmp_path / annotated, images=tmp_path / directory)
    assert command.main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "absent" in error
    assert error.count("\n") == 1
