"""A bare GPU machine walks every part of the suite.

It has PyTorch, torchvision, NumPy, OpenCV, Pillow, safetensors, onnx and rich, and none of the other packages that this
project depends on.
"""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu_suite.parts import PARTS
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.harness.report_file import read_report
from tests.support.hidden import without
from tests.support.host_kernels import build_cache, host_library
from tests.support.walk_gpu_suite import walk

__all__ = ["build_cache", "host_library"]
ROOT = Path(__file__).resolve().parents[3]
MISSING = [
    "docstring_parser", "matplotlib", "onnx_ir", "onnxruntime", "onnxscript", "openvino",
    "pycocotools", "pycuda", "pynvml", "shtab", "supervision", "tensorboard", "tensorrt", "tqdm", "typeguard",
    "typer", "tyro",
]  # fmt: skip
NAMES = [part.name for part in PARTS if part.by_default]
OF_GPUS = ("compiled", "torch.compile", "CUDA graph", "tf32", "ONNX Runtime", "TensorRT")
"""Contenders that a walk on a CPU leaves out: they need a GPU, or a minute's compilation."""


def run_bare(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=without(MISSING), capture_output=True, text=True)


def test_the_packages_are_missing_in_children_too() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import tyro'])"
    assert "No module named 'tyro'" in run_bare("-c", child).stderr


def reasons(report: GpuReport) -> dict[str, str | None]:
    """Why parts and steps were not run, but for the contenders that a CPU does not have; nothing may have failed."""
    assert [(each.name, each.reason, each.trace) for each in report.failed] == []
    undone = {each.name: each.reason for each in report.outcomes if each.status != "done"}
    return {name: reason for name, reason in undone.items() if not any(word in name for word in OF_GPUS)}


def test_every_part_is_walked(host_library: Path, tmp_path: Path) -> None:
    ended = run_bare("-m", "tests.support.walk_gpu_suite", str(tmp_path), str(host_library), *NAMES)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = read_report(GpuReport, tmp_path / "gpu_suite.json")
    assert set(NAMES) <= {each.name for each in report.outcomes}
    found = reasons(report)
    assert found.pop("sanitizer") == "compute-sanitizer needs a CUDA device"
    assert (found.pop("accuracy") or "").startswith("needs pycocotools; the detections can be")
    assert found == {}
    assert [name for name in NAMES if getattr(report, name.replace("-", "_")) is None] == ["sanitizer"]


def test_the_detections_are_scored_where_the_packages_are(host_library: Path, tmp_path: Path) -> None:
    walk(tmp_path, host_library, ["accuracy"])
    report = read_report(GpuReport, tmp_path / "gpu_suite.json")
    assert reasons(report) == {}
    assert report.accuracy is not None
    assert {each.mask_ap is None for each in report.accuracy.contenders} == {False}


def test_the_command_says_what_it_did_not_run(tmp_path: Path) -> None:
    line = "-m benchmarks.gpu_suite --device cpu --tiny --part numerics ceilings --revision abc"
    ended = run_bare(*line.split(), "-o", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "not run: numerics: the kernels need a CUDA device" in ended.stdout
    content = json.loads((tmp_path / "gpu_suite.json").read_text())
    assert content["numerics"] is None
    assert content["ceilings"]["fp16_flops"] > 0
