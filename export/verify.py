"""Runners of an exported file and of its source, whose detections a verification compares."""

from pathlib import Path

import torch

from refinemask.agreement import Runner
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.data.transforms import NetworkInput
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import foreign_errors
from refinemask.modeling.detector import Detector
from refinemask.outputs import OutputError, check_counts, check_layout
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
    import onnxruntime

    from refinemask.onnx_session import session_options

    options = session_options(torch.get_num_threads())
    shown = name or ("the exported file" if isinstance(model, bytes) else model)
    with foreign_errors(f"{shown}: ONNX Runtime cannot load it"):
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(batch: NetworkInput) -> Detections:
        feed = {name: getattr(batch, name) for name in INPUTS}
        with foreign_errors(f"{shown}: ONNX Runtime fails on the pictures of the verification"):
            found = Detections(*session.run(list(OUTPUTS), feed))
        try:
            check_layout(found, len(batch.images))
            check_counts(found.num_detections, found.scores.shape[1])
        except OutputError as error:
            raise UserError(f"{shown}: {error}") from error
        return found

    return run
