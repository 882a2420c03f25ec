"""Options of ONNX Runtime, the same wherever a file is verified, used or measured."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from refinemask.agreement import Runner
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.data.transforms import NetworkInput
from refinemask.files import UserError
from refinemask.foreign import foreign_errors
from refinemask.outputs import OutputError, check_counts, check_layout
from refinemask.structures import Detections


def session_options(threads: int | None = None, device: str = "cpu") -> onnxruntime.SessionOptions:
    """Options of a session that computes a file as it is written.

    Args:
        threads: CPU threads; None leaves the number to ONNX Runtime.
        device: ``cpu`` or ``cuda``.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    # A pattern is a second block for all that a run needs, beside what the first run took and the arena keeps. On a GPU
    # it was not measured.
    options.enable_mem_pattern = device != "cpu"
    # Compute Q/DQ as it is written: ONNX Runtime's own fusion overflows on CPUs without VNNI, and in float16 biases.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # It removes a ReLU before any QuantizeLinear to fp8, as if fp8 had no negative numbers (ONNX Runtime 1.32).
    options.add_session_config_entry("optimization.disable_specified_optimizers", "ReluQuantRewrite")
    return options


def cpu_runner(model: Path | bytes, name: Path | None = None, threads: int | None = None) -> Runner:
    """A runner of an exported file, or of its bytes, on the CPU.

    Args:
        model: the file, or its bytes.
        name: the file's name in errors, where it has not got it yet.
        threads: CPU threads; None leaves the number to ONNX Runtime.

    Raises:
        UserError: ONNX Runtime cannot load it; the runner raises it where ONNX Runtime fails.
    """
    shown = name or ("the exported file" if isinstance(model, bytes) else model)
    session = cpu_session(model, shown, threads)
    return lambda batch: checked(Detections(*run_session(session, batch, shown, OUTPUTS)), batch, shown)


def cpu_session(model: Path | bytes, shown: Path | str, threads: int | None = None) -> onnxruntime.InferenceSession:
    """A session of an exported file, or of its bytes, on the CPU; ``shown`` names it in errors.

    Raises:
        UserError: ONNX Runtime cannot load it.
    """
    with foreign_errors(f"{shown}: ONNX Runtime cannot load it"):
        return onnxruntime.InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])


def run_session(
    session: onnxruntime.InferenceSession, batch: NetworkInput, shown: Path | str, outputs: Sequence[str] | None
) -> list[NDArray[Any]]:
    """The outputs of these names, or all, for the pictures of a verification; ``shown`` names the file in errors.

    Raises:
        UserError: ONNX Runtime fails.
    """
    feed = {name: getattr(batch, name) for name in INPUTS}
    with foreign_errors(f"{shown}: ONNX Runtime fails on the pictures of the verification"):
        return session.run(outputs and list(outputs), feed)


def checked(found: Detections, batch: NetworkInput, shown: Path | str) -> Detections:
    """The detections of a batch, if their layout and numbers are those of the contract.

    Raises:
        UserError: they are not; ``shown`` names the file.
    """
    try:
        check_layout(found, len(batch.images))
        check_counts(found.num_detections, found.scores.shape[1])
    except OutputError as error:
        raise UserError(f"{shown}: {error}") from error
    return found


def cuda_remedy() -> str:
    """What gives this environment ONNX Runtime's CUDA provider, which it lacks."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return "it does not find CUDA and cuDNN in the versions that this onnxruntime-gpu needs: install them"
    remedy = "pip uninstall --yes onnxruntime onnxruntime-gpu && pip install 'refinemask[gpu]'"
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        return f"onnxruntime and onnxruntime-gpu are both installed, and one hides the other; {remedy}"
    return remedy


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
