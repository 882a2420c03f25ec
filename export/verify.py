"""Runners of an exported file and of its source, whose detections a verification compares."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.model import BOUNDARY, add_bodies
from export.precision import widen
from refinemask.agreement import Runner
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.data.transforms import NetworkInput
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import foreign_errors
from refinemask.modeling.detector import Detector
from refinemask.outputs import OutputError, check_counts, check_layout
from refinemask.structures import Detections

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
    model = ir.load(path)
    if model.metadata_props["precision"] == "bf16":
        model = widen(model)
        add_bodies(model)
    names = _return_boundaries(model.graph)
    session = _session(ir.to_proto(model).SerializeToString(), name)

    def run(batch: NetworkInput) -> tuple[Detections, dict[str, Tensor]]:
        found = _run(session, batch, name, None)
        detections = _checked(Detections(*found[: len(OUTPUTS)]), batch, name)
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
    shown = name or ("the exported file" if isinstance(model, bytes) else model)
    session = _session(model, shown)

    def run(batch: NetworkInput) -> Detections:
        return _checked(Detections(*_run(session, batch, shown, OUTPUTS)), batch, shown)

    return run


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


def _session(model: Path | bytes, shown: str | Path) -> Any:
    import onnxruntime

    from refinemask.onnx_session import session_options

    options = session_options(torch.get_num_threads())
    with foreign_errors(f"{shown}: ONNX Runtime cannot load it"):
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: Any, batch: NetworkInput, shown: str | Path, outputs: Sequence[str] | None) -> list[NDArray[Any]]:
    feed = {name: getattr(batch, name) for name in INPUTS}
    with foreign_errors(f"{shown}: ONNX Runtime fails on the pictures of the verification"):
        return session.run(outputs and list(outputs), feed)


def _checked(found: Detections, batch: NetworkInput, shown: str | Path) -> Detections:
    try:
        check_layout(found, len(batch.images))
        check_counts(found.num_detections, found.scores.shape[1])
    except OutputError as error:
        raise UserError(f"{shown}: {error}") from error
    return found
