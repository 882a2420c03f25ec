"""The memory of an engine that gets images of ever other sizes does not grow for ever."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from export import export_onnx
from refinemask.bundled import PHOTOS
from refinemask.contract import Bounds
from tests.support.processes import needs_proc
from tests.support.quantised_file import write_int8

ROOT = Path(__file__).resolve().parents[2]
BOUNDS = Bounds(batch=(1, 1, 2), height=(32, 64, 512), width=(32, 64, 512))
GROWTH = 64
"""MiB by which the memory may grow from the 400th to the 2,000th call: what allocators leave in pieces."""


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["pytorch", "onnxruntime", "openvino", "openvino int8"])
def test_memory_is_bounded_over_2000_calls_of_200_sizes(
    tiny_files: tuple[Path, Path], tmp_path: Path, backend: str
) -> None:
    backend, _, precision = backend.partition(" ")
    if backend == "openvino" and find_spec("openvino") is None:
        pytest.skip("needs the extra 'openvino'")
    file = tiny_files[0]
    if backend != "pytorch":
        file = tmp_path / "tiny.onnx"
        export_onnx(tiny_files[0], file, bounds=BOUNDS, masks="found", verify_images=PHOTOS)
    if precision:
        write_int8(file, file)
    command = [sys.executable, "-m", "tests.support.many_sizes", str(file), backend, "400", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    early, late = map(int, done.stdout.split())
    assert late - early < GROWTH, f"{early} MiB became {late} MiB"
