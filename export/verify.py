"""Runners of an exported file and of its source, whose detections a verification compares."""

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor

from export.model import BOUNDARY
from refinemask.agreement import Runner
from refinemask.contract import OUTPUTS
from refinemask.data.transforms import NetworkInput
from refinemask.extras import needed_by
from refinemask.modeling.detector import Detector
from refinemask.structures import Detections
from refinemask.widened import widen

ObservedRunner = Callable[[NetworkInput], tuple[Detections, dict[str, Tensor]]]
"""Function that runs a detector on a batch, and returns its detections and the values between its stages, by name."""


def require_onnxruntime() -> None:
    """Raise a UserError unless ONNX Runtime is here: an extra of its own, for a CPU and for a GPU there are two."""
    with needed_by("the verification of an exported file"):
        import onnxruntime  # noqa: F401


def observed_runner(path: Path, name: Path) -> ObservedRunner:
    """A runner of an exported file in ONNX Runtime that returns the values between its stages, too, in float32.

    They are outputs of a copy of the file in memory.

    Args:
        path: the file.
        name: the file's name in errors.
    """
    from refinemask.onnx_session import checked, cpu_session, run_session

    model = ir.load(path)
    if model.metadata_props["precision"] == "bf16":
        model = ir.from_proto(widen(ir.to_proto(model)))
    names = _return_boundaries(model.graph)
    session = cpu_session(ir.to_proto(model).SerializeToString(), name, torch.get_num_threads())

    def run(batch: NetworkInput) -> tuple[Detections, dict[str, Tensor]]:
        found = run_session(session, batch, name, None)
        detections = checked(Detections(*found[: len(OUTPUTS)]), batch, name)
        return detections, dict(zip(names, map(torch.from_numpy, found[len(OUTPUTS) :]), strict=True))

    return run


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


def _return_boundaries(graph: ir.Graph) -> list[str]:
    """Make the values between the stages outputs, in float32, and return their names."""
    values = [value for node in graph for value in node.outputs if (value.name or "").startswith(BOUNDARY)]
    for value in values:
        # ONNX Runtime computes half precision in float32, and leaves out a rounding where it is followed by a cast. So
        # does every reader of these values, and what is returned must be what they read.
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
        cast.outputs[0].name, cast.outputs[0].dtype = f"returned.{value.name}", ir.DataType.FLOAT
        graph.append(cast)
        graph.outputs.append(cast.outputs[0])
    return [str(value.name).removeprefix(BOUNDARY) for value in values]
