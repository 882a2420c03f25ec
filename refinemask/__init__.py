"""RefineMask: high-quality instance segmentation with fine-grained features, from training to production."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from refinemask.exit_codes import interrupt_imports_at_once, name_missing_packages
from refinemask.extras import needed_by

__version__ = "0.10.0"
__all__ = [
    "Detections",
    "Detector",
    "Evaluation",
    "FailedCheckError",
    "Inspection",
    "ModelConfig",
    "Plan",
    "Prediction",
    "UserError",
    "convert_checkpoint",
    "evaluate",
    "evaluate_results",
    "inspect",
    "load_detector",
    "source_of",
    "stream",
    "train",
    "write_predictions",
]

if TYPE_CHECKING:
    from refinemask.config import ModelConfig
    from refinemask.conversion import convert_checkpoint
    from refinemask.data.inspection.run import Inspection, inspect
    from refinemask.evaluation.foreign_results import evaluate_results
    from refinemask.evaluation.run import Evaluation, evaluate
    from refinemask.files import FailedCheckError, UserError
    from refinemask.modeling.detector import Detector
    from refinemask.prediction import Prediction
    from refinemask.sources.words import source_of
    from refinemask.streaming.stream import stream
    from refinemask.structures import Detections
    from refinemask.training.run import Plan, train
    from refinemask.weights import load_detector
    from refinemask.writers.write import write_predictions

_HOMES = {
    "Detections": "refinemask.structures",
    "Detector": "refinemask.modeling.detector",
    "Evaluation": "refinemask.evaluation.run",
    "FailedCheckError": "refinemask.files",
    "Inspection": "refinemask.data.inspection.run",
    "ModelConfig": "refinemask.config",
    "Plan": "refinemask.training.run",
    "Prediction": "refinemask.prediction",
    "UserError": "refinemask.files",
    "convert_checkpoint": "refinemask.conversion",
    "evaluate": "refinemask.evaluation.run",
    "evaluate_results": "refinemask.evaluation.foreign_results",
    "inspect": "refinemask.data.inspection.run",
    "load_detector": "refinemask.weights",
    "source_of": "refinemask.sources.words",
    "stream": "refinemask.streaming.stream",
    "train": "refinemask.training.run",
    "write_predictions": "refinemask.writers.write",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: masks and structures must import on machines without PyTorch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needed_by(f"{__name__}.{name}"):
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, whose verbs are not hidden by commands of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Python sets every imported submodule as an attribute of its package. So the modules ``refinemask.evaluate``
        # and ``refinemask.train`` would take the place of the functions of the same names. The import system finds the
        # modules without the attribute: ``from refinemask.evaluate import main`` works.
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
_PACKAGES = (__name__, "export", "engines", "trt_plugins", "benchmarks")
interrupt_imports_at_once(_PACKAGES)
name_missing_packages(_PACKAGES)
