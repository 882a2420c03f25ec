"""Running a detector: one interface over PyTorch, ONNX Runtime, OpenVINO and TensorRT."""

import os
from pathlib import Path

from engines.base import Engine
from refinemask.contract import Bounds, InputError
from refinemask.files import UserError

__all__ = ["Bounds", "Engine", "InputError", "load"]


def load(
    path: str | os.PathLike[str],
    *,
    backend: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    trust_engine: bool = False,
) -> Engine:
    """Open a checkpoint or an exported file with the engine its ending calls for.

    ``.safetensors`` runs in PyTorch, ``.onnx`` in ONNX Runtime or, with ``backend="openvino"``, in OpenVINO,
    ``.engine`` in TensorRT with PyTorch's buffers or, with ``backend="pycuda"``, without PyTorch.

    Args:
        path: the file.
        backend: ``pytorch``, ``onnxruntime``, ``openvino``, ``tensorrt`` or ``pycuda``; None chooses by the ending.
        precision: None is the file's own; OpenVINO alone can run an fp32 file in ``bf16``.
        threads: CPU threads, at least one; None leaves the number to the engine.
        device: ``cpu`` or ``cuda``; TensorRT has ``cuda`` only.
        trust_engine: load a TensorRT engine without a sidecar: it can run any code.

    Raises:
        UserError: the file is missing or not ours, or the request cannot be met exactly.
    """
    path = Path(path)
    backends = {".safetensors": ("pytorch",), ".onnx": ("onnxruntime", "openvino"), ".engine": ("tensorrt", "pycuda")}
    if path.suffix not in backends:
        raise UserError(f"{path}: no engine for '{path.suffix}' files; expected {', '.join(backends)}")
    backend = backend or backends[path.suffix][0]
    if backend not in backends[path.suffix]:
        raise UserError(f"{path}: backend '{backend}' cannot run it; expected {' or '.join(backends[path.suffix])}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if threads is not None and threads < 1:
        raise UserError(f"{path}: cannot run on {threads} threads; expected at least 1, or None")
    # Each runtime is heavy and some are optional, so only the one asked for is imported.
    if backend == "pytorch":
        from engines.torch_engine import TorchEngine

        return TorchEngine(path, precision=precision, threads=threads, device=device)
    if backend == "onnxruntime":
        from engines.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, precision=precision, threads=threads, device=device)
    if backend == "openvino":
        from engines.openvino_engine import OpenVINOEngine

        return OpenVINOEngine(path, precision=precision, threads=threads, device=device)
    if backend == "pycuda":
        try:
            from engines.trt.pycuda_runner import PycudaEngine
        except ImportError as error:
            raise UserError(f"{path}: pycuda cannot be imported ({error}); pip install pycuda") from error

        return PycudaEngine(path, precision=precision, device=device, trust=trust_engine)
    from engines.trt.torch_runner import TensorRTEngine

    return TensorRTEngine(path, precision=precision, device=device, trust=trust_engine)
