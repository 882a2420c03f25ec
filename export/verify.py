"""Runners of an exported file and of its source, whose detections a verification compares."""

from pathlib import Path

import torch

from refinemask.agreement import Runner
from refinemask.data.transforms import NetworkInput
from refinemask.extras import needed_by
from refinemask.modeling.detector import Detector
from refinemask.structures import Detections


def require_onnxruntime() -> None:
    """Raise a UserError unless ONNX Runtime is here: an extra of its own, for a CPU and for a GPU there are two."""
    with needed_by("the verification of an exported file"):
        import onnxruntime  # noqa: F401


def torch_runner(detector: Detector) -> Runner:
    """A runner of the PyTorch detector."""

    def run(batch: NetworkInput) -> Detections:
        with torch.inference_mode():
            return detector(torch.from_numpy(batch.images), torch.from_numpy(batch.image_sizes)).numpy()

    return run


def onnx_runner(model: Path | bytes, name: Path | None = None) -> Runner:
    """A runner of an exported file, or of its bytes, in ONNX Runtime on the CPU.

    Args:
        model: the file, or its bytes.
        name: the file's name in errors, where it has not got it yet.
    """
    from refinemask.onnx_session import cpu_runner

    return cpu_runner(model, name, torch.get_num_threads())
