"""This project's Mask R-CNN beside torchvision's."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.spec import EngineSpec
from benchmarks.peers import __main__ as peers
from benchmarks.peers import measurement, torchvision_detector
from benchmarks.peers.contender import OURS, Contender, open_contender, run_contender
from benchmarks.peers.measurement import Plan
from refinemask.config import BackboneConfig, FCNMaskConfig, ModelConfig
from refinemask.config_json import to_json
from tests.support.toy_onnx import CONFIG, write_toy_onnx

CANVAS = (64, 96)
ROOT = Path(__file__).resolve().parents[3]
MASK_RCNN = replace(CONFIG, mask_head=FCNMaskConfig())


def write_exported(path: Path, config: ModelConfig = MASK_RCNN, **metadata: str) -> Path:
    """A toy that says to be such a model, exported for :data:`CANVAS`."""
    bounds = json.dumps({"batch": [1, 1, 1], "height": [CANVAS[0]] * 3, "width": [CANVAS[1]] * 3})
    return write_toy_onnx(path, bounds=bounds, config=to_json(config), **metadata)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("none.onnx", {}, "no such file; export Mask R-CNN"),
        ("refine.onnx", {}, "its mask head is 'refine' and its backbone has the blocks (3, 4, 6, 3); expected"),
        ("r101.onnx", {}, "its mask head is 'fcn' and its backbone has the blocks (3, 4, 23, 3); expected"),
        ("fp16.onnx", {}, "its precision is fp16"),
        ("ours.onnx", {"size": (128, 96)}, "ours.onnx: images have height 128, but this file was exported for"),
        ("ours.onnx", {"size": (100, 96)}, "--size is 100x96; expected multiples of 32"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    name: str,
    settings: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_exported(tmp_path / "ours.onnx")
    write_exported(tmp_path / "fp16.onnx", precision="fp16")
    write_exported(tmp_path / "refine.onnx", CONFIG)
    write_exported(tmp_path / "r101.onnx", replace(MASK_RCNN, backbone=BackboneConfig(blocks=(3, 4, 23, 3))))
    monkeypatch.delattr(torchvision_detector, "export")
    assert peers.main(peers.Args(plan=Plan(**{"exported": tmp_path / name, "size": CANVAS, **settings}))) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_contender_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = write_exported(tmp_path / "ours.onnx")
    absent = Contender(OURS, EngineSpec(tmp_path / "absent.onnx", "openvino"))
    monkeypatch.setattr(torchvision_detector, "export", lambda *_: None)
    monkeypatch.setattr(measurement, "list_contenders", lambda *_: [absent])
    assert peers.main(peers.Args(plan=Plan(exported=exported, size=CANVAS, threads=1))) == 2
    assert capsys.readouterr().err == f"error: {absent.spec.path}: no such file\n"


def test_a_process_opens_its_contender_and_runs_it(tmp_path: Path) -> None:
    exported = write_exported(tmp_path / "ours.onnx")
    images, sizes = np.zeros((1, 3, *CANVAS), np.uint8), np.array([CANVAS])
    assert open_contender(Contender(OURS, EngineSpec(exported, "onnxruntime")), images, sizes, threads=1) == os.getpid()
    seconds, detections = run_contender()
    assert seconds > 0
    assert detections == 3


@pytest.mark.slow
def test_all_contenders_take_turns(tmp_path: Path) -> None:
    """torchvision's whole network on a small image, ours a toy; as a command, whose children are spawned."""
    toy, output = write_exported(tmp_path / "toy.onnx"), tmp_path / "peers.json"
    options = ["--threads", "1", "--rounds", "2", "--warmup", "1", "--output", output]
    command = [sys.executable, "-m", "benchmarks.peers", toy, "--canvas", *CANVAS, *options]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "this project" in done.stdout
    first, *others = json.loads(output.read_text())["contenders"]
    assert (first["network"], first["engine"], first["speedup"]["p50"]) == ("torchvision", "pytorch fp32", 1)
    assert {each["network"] for each in others} == {"torchvision", "this project"}
    assert {each["detections"] for each in (first, *others) if each["network"] == "torchvision"} == {100}
    assert all(each["peak_memory_mib"] > 0 and each["latency_ms"]["n"] == 2 for each in (first, *others))
