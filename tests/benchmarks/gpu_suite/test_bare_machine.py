"""A machine with PyTorch, NumPy, OpenCV, safetensors and onnx alone walks every part of the suite."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu_suite.parts import PARTS
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.harness.report_file import read_report
from tests.support.host_kernels import build_cache, host_library

__all__ = ["build_cache", "host_library"]
ROOT = Path(__file__).resolve().parents[3]
BARE = ROOT / "tests" / "support" / "bare_machine"
LACKING: set[str] = set()
"""Steps that need what a bare machine lacks."""


def run_bare(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(BARE)}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_packages_are_missing_in_children_too() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import tyro'])"
    assert "No module named 'tyro'" in run_bare("-c", child).stderr


def test_every_part_is_walked(host_library: Path, tmp_path: Path) -> None:
    ended = run_bare("-m", "tests.support.walk_gpu_suite", str(tmp_path), str(host_library))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = read_report(GpuReport, tmp_path / "gpu_suite.json")
    ends = {each.name: (each.status, each.reason) for each in report.outcomes}
    assert {part.name for part in PARTS} <= set(ends)
    assert {name: end for name, end in ends.items() if end[0] != "done" and name not in LACKING} == {}
    assert all(getattr(report, part.field) is not None for part in PARTS)


def test_the_command_says_what_it_did_not_run(tmp_path: Path) -> None:
    line = "-m benchmarks.gpu_suite --device cpu --tiny --part numerics ceilings --revision abc"
    ended = run_bare(*line.split(), "-o", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "not run: numerics: the kernels need a CUDA device" in ended.stdout
    content = json.loads((tmp_path / "gpu_suite.json").read_text())
    assert content["numerics"] is None
    assert content["ceilings"]["fp16_flops"] > 0
