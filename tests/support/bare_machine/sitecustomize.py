"""With this folder on PYTHONPATH a process, and all that it starts, finds only what a bare GPU machine has.

Such a machine has PyTorch, torchvision, NumPy, OpenCV, Pillow, safetensors, onnx and rich, and none of the other
packages that this project depends on.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MISSING = {
    "docstring_parser", "faster_coco_eval", "matplotlib", "onnx_ir", "onnxruntime", "onnxscript", "openvino",
    "pycocotools", "pycuda", "shtab", "supervision", "tensorboard", "tensorrt", "tqdm", "typeguard", "typer", "tyro",
}  # fmt: skip


class Bare:
    """A finder that finds what another one finds, but for the missing packages."""

    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if name.partition(".")[0] in MISSING else self.finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


sys.meta_path[:] = map(Bare, sys.meta_path)
