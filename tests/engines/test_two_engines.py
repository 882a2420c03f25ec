"""One interpreter holds two engines of any kind, in either order."""

import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("pytorch", "onnxruntime", "openvino")


@pytest.mark.parametrize(("first", "second"), [*permutations(BACKENDS, 2), ("openvino", "openvino")])
def test_two_engines_share_an_interpreter(tiny_files: tuple[Path, Path], first: str, second: str) -> None:
    if "openvino" in (first, second) and find_spec("openvino") is None:
        pytest.skip("needs the extra 'openvino'")
    checkpoint, onnx = map(str, tiny_files)
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.support.two_engines", checkpoint, onnx, first, second]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
