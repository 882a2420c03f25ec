"""From a checkpoint to a verified ONNX file, its quantisation, and what TensorRT would refuse of it."""

from typing import TYPE_CHECKING, Any

__all__ = [
    "Finding",
    "check_onnx",
]

if TYPE_CHECKING:
    from export.tensorrt_rules import Finding, check_onnx
_HOMES = {
    "Finding": "export.tensorrt_rules",
    "check_onnx": "export.tensorrt_rules",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: checking a file needs no PyTorch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
