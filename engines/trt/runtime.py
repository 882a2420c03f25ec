"""Opening an engine file, and what the two runners share. Imports no PyTorch."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engines.trt.api import import_tensorrt, load_plugins, make_logger, short_version
from engines.trt.device import cuda_device
from engines.trt.sidecar import check_sidecar, read_sidecar, sidecar_path
from refinemask.contract import INPUTS, OUTPUTS, Metadata
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.readable import require_readable
from trt_plugins import library_path

Shape = tuple[int, ...]


class OpenEngine(NamedTuple):
    """A deserialised engine. All parts stay referenced: TensorRT's objects do not keep one another alive."""

    trt: Any
    logger: Any
    runtime: Any
    engine: Any
    metadata: Metadata
    path: Path
    plugins: Path | None

    def create_context(self) -> Any:
        """An execution context of its own, which must be given the memory that it computes in.

        Raises:
            UserError: there is not enough memory for one more.
        """
        strategy = self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        specialization = getattr(self.trt, "DynamicShapesKernelSpecializationStrategy", None)
        if specialization is None:
            context = self.engine.create_execution_context(strategy)
        else:
            # TensorRT-RTX compiles a shape's kernels while others stand in, which a recording would keep for good.
            config = self.engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            config.dynamic_shapes_kernel_specialization_strategy = specialization.EAGER
            context = self.engine.create_execution_context(config)
        if context is None:
            raise UserError(f"{self.path}: no memory for one more execution context{self._errors()}")
        return context

    def set_shapes(self, context: Any, images: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Set the shapes of the inputs for images of shape [B, 3, H, W].

        Returns:
            The shapes of the inputs, and those of the outputs, with -1 where they depend on the data.

        Raises:
            UserError: the engine does not take such inputs.
        """
        inputs: dict[str, Shape] = dict(zip(INPUTS, (images, (images[0], 2)), strict=True))
        for name, shape in inputs.items():
            self.require(context.set_input_shape(name, shape), f"does not take {name} of shape {list(shape)}")
        return inputs, {name: tuple(context.get_tensor_shape(name)) for name in OUTPUTS}

    def dtype(self, name: str) -> np.dtype:
        """The type of an input or output."""
        return np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name)))

    def require(self, succeeded: bool, what: str) -> None:
        """Raise :class:`UserError` with TensorRT's reason if a call returned false."""
        if not succeeded:
            raise UserError(f"{self.path}: {what}{self._errors()}")

    def _errors(self) -> str:
        return f": {one_line(self.logger.errors[-1])}" if self.logger.errors else ""


def require_cuda(path: str | os.PathLike[str], device: str) -> None:
    """Raise :class:`UserError` unless TensorRT runs on ``device``."""
    if device != "cuda":
        raise UserError(f"{path}: TensorRT runs on cuda, not on {device}; use --device cuda")


def open_engine(
    path: str | os.PathLike[str], *, precision: str | None = None, trust: bool = False, onnx: Path | None = None
) -> OpenEngine:
    """Check an engine file against its sidecar, then load its plugins and the engine.

    Args:
        path: the engine file.
        precision: the precision that the engine must have been built in; None takes any.
        trust: load a file without a sidecar; its metadata is then that of the .onnx file of the same name beside it.
            If that file is fp32, the engine counts as tf32, TensorRT's default, unless ``precision`` says fp32.
        onnx: the .onnx file of an engine without a sidecar; None is the one of the same name beside it.

    Raises:
        UserError: the file or its sidecar is not in order, does not fit this machine or the request, or TensorRT
            refuses it.
    """
    path = Path(path)
    require_readable(path)
    device = cuda_device()
    if device is None:
        raise UserError(f"{path}: a TensorRT engine needs a GPU, and this machine has none (or no driver)")
    sidecar = None if trust and not sidecar_path(path).is_file() else read_sidecar(path)
    trt = import_tensorrt(sidecar.flavour if sidecar else "tensorrt")
    library = _library() if sidecar is None or sidecar.plugins else None
    # Read once: what was hashed is what runs.
    content = path.read_bytes()
    if sidecar is not None:
        check_sidecar(
            sidecar,
            path,
            content,
            flavour=sidecar.flavour,
            version=short_version(trt.__version__),
            capability=device.capability,
            plugins=library,
        )
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    load_plugins(trt, library, logger)
    if sidecar is not None and sidecar.newer_versions:
        # A version-compatible engine carries, as code, the runtime that it was built with.
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        reason = one_line(next(iter(logger.errors), ""))
        raise UserError(f"{path}: TensorRT {trt.__version__} cannot load it: {reason}; build it again here")
    names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    if names != {*INPUTS, *OUTPUTS}:
        shown = one_line(", ".join(sorted(names)) or "none")
        raise UserError(f"{path}: not an engine of ours: its tensors are {shown}; build it: python -m engines.build")
    metadata = sidecar.read_metadata(path) if sidecar else _metadata_beside(path, onnx, precision)
    if precision not in (None, metadata.precision):
        raise UserError(
            f"{path}: it was built in {metadata.precision}, not {precision}; build an engine of a file of {precision}"
        )
    return OpenEngine(trt, logger, runtime, engine, metadata, path, library)


def _library() -> Path | None:
    try:
        return library_path()
    except FileNotFoundError:
        return None


def _metadata_beside(path: Path, onnx: Path | None, precision: str | None) -> Metadata:
    source = onnx or path.with_suffix(".onnx")
    if not source.is_file():
        raise UserError(f"{path}: has no sidecar; expected at least the file it was built of, {source.name}, beside it")
    metadata = Metadata.of_file(source)
    if metadata.precision == "fp32" and precision != "fp32":
        return replace(metadata, precision="tf32")
    return metadata
