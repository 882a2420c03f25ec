"""Export of a checkpoint to a verified ONNX file, its quantisation, and the check of what TensorRT would refuse."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from refinemask.extras import needed_by

__all__ = [
    "Bounds",
    "ExportReport",
    "Finding",
    "MismatchError",
    "QuantizationReport",
    "check_onnx",
    "choose_bounds",
    "export_onnx",
    "quantize_onnx",
]

if TYPE_CHECKING:
    from export.bounds import choose_bounds
    from export.quantization import QuantizationReport, quantize_onnx
    from export.tensorrt_rules import Finding, check_onnx
    from export.verified_export import ExportReport, export_onnx
    from refinemask.agreement import MismatchError
    from refinemask.contract import Bounds

_HOMES = {
    "Bounds": "refinemask.contract",
    "ExportReport": "export.verified_export",
    "Finding": "export.tensorrt_rules",
    "MismatchError": "refinemask.agreement",
    "QuantizationReport": "export.quantization",
    "check_onnx": "export.tensorrt_rules",
    "choose_bounds": "export.bounds",
    "export_onnx": "export.verified_export",
    "quantize_onnx": "export.quantization",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: checking a file needs no PyTorch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needed_by(f"{__name__}.{name}", extra="export"):
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
