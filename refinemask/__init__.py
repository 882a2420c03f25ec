"""RefineMask: high-quality instance segmentation with fine-grained features, from training to production."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Detections", "Detector", "ModelConfig", "load_detector"]

if TYPE_CHECKING:
    from refinemask.config import ModelConfig
    from refinemask.modeling.detector import Detector
    from refinemask.structures import Detections
    from refinemask.weights import load_detector

_HOMES = {
    "Detections": "refinemask.structures",
    "Detector": "refinemask.modeling.detector",
    "ModelConfig": "refinemask.config",
    "load_detector": "refinemask.weights",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: masks and structures must import on machines without PyTorch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
