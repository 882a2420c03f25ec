"""Mask R-CNN beside torchvision's."""

import json
from pathlib import Path

import pytest
from toy_onnx import write_toy_onnx

from benchmarks import peers


def test_a_missing_file_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.main(peers.Args(exported=tmp_path / "none.onnx")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no such file; export Mask R-CNN" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_all_contenders_take_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torchvision's whole network on a small image, ours a toy."""
    bounds = json.dumps({"batch": [1, 1, 1], "height": [64, 64, 64], "width": [96, 96, 96]})
    toy, output = write_toy_onnx(tmp_path / "toy.onnx", bounds=bounds), tmp_path / "peers.json"
    args = peers.Args(exported=toy, canvas=(64, 96), threads=1, rounds=2, warmup=1, output=output)
    assert peers.main(args) == 0
    assert "this project" in capsys.readouterr().out
    first, *others = json.loads(output.read_text())["contenders"]
    assert (first["network"], first["engine"], first["speedup"]["p50"]) == ("torchvision", "pytorch fp32", 1)
    assert {each["network"] for each in others} == {"torchvision", "this project"}
    assert {each["detections"] for each in (first, *others) if each["network"] == "torchvision"} == {100}
    assert all(each["peak_memory_mib"] > 0 and each["latency_ms"]["n"] == 2 for each in (first, *others))
