"""Accuracy beside speed: what an engine finds is taken for the truth, and found again."""

import json
import sys
from pathlib import Path
from types import ModuleType

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
