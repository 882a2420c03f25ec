"""Opening an engine file, and what its two runners share. Imports no PyTorch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines.trt.api import import_tensorrt, load_plugins, make_logger, short_version
from engines.trt.device import cuda_device
from engines.trt.sidecar import check_sidecar, read_sidecar, sidecar_path
from refinemask.contract import INPUTS, OUTPUTS, Metadata
from refinemask.files import UserError

Shape = tuple[int, ...]


class OpenEngine(NamedTuple):
    """A deserialised engine. All parts stay referenced: TensorRT's objects do not keep one another alive."""

    trt: Any
    logger: Any
    runtime: Any
    engine: Any
    metadata: Metadata
    path: Path

    def create_context(self) -> Any:
        """An execution context of its own.

        Raises:
            UserError: there is not enough memory for one more.
        """
        context = self.engine.create_execution_context()
        if context is None:
            raise UserError(f"{self.path}: no memory for one more execution context{self._errors()}")
        return context

    def set_shapes(self, context: Any, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Set the shapes of the inputs; returns those of the outputs, -1 where they depend on the data.

        Raises:
            UserError: the engine does not take such inputs.
        """
        for name, shape in shapes.items():
            self.require(context.set_input_shape(name, shape), f"does not take {name} of shape {list(shape)}")
        return {name: tuple(context.get_tensor_shape(name)) for name in OUTPUTS}

    def require(self, succeeded: bool, what: str) -> None:
        """Raise :class:`UserError` with TensorRT's reason if a call returned false."""
        if not succeeded:
            raise UserError(f"{self.path}: {what}{self._errors()}")

    def _errors(self) -> str:
        return f": {self.logger.errors[-1]}" if self.logger.errors else ""


def open_engine(
    path: str | os.PathLike[str], *, trust: bool = False, plugins: str | os.PathLike[str] | None = None
) -> OpenEngine:
    """Check an engine file against its sidecar, then load its plugins and the engine.

    Args:
        trust: load a file without a sidecar; its metadata is then that of the .onnx file of the same name beside it.
        plugins: the plugin library; None is the one that ``trt_plugins.build`` makes.

    Raises:
        UserError: the file or its sidecar is not in order, does not fit this machine, or TensorRT refuses it.
    """
    path = Path(path)
    device = cuda_device()
    if device is None:
        raise UserError(f"{path}: a TensorRT engine needs a GPU, and this machine has none (or no driver)")
    sidecar = None if trust and not sidecar_path(path).is_file() else read_sidecar(path)
    trt = import_tensorrt(sidecar.flavour if sidecar else "tensorrt")
    library = _library(plugins) if sidecar is None or sidecar.plugins else None
    if sidecar is not None:
        check_sidecar(
            sidecar,
            path,
            flavour=sidecar.flavour,
            version=short_version(trt.__version__),
            capability=device.capability,
            plugins=library,
        )
    logger = make_logger(trt)
    if library is not None:
        load_plugins(trt, library)
    runtime = trt.Runtime(logger)
    if sidecar is not None and sidecar.newer_versions:
        # A version-compatible engine brings the runtime it was built with along, as code.
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        reason = logger.errors[0] if logger.errors else "no reason given"
        raise UserError(f"{path}: TensorRT {trt.__version__} cannot load it: {reason}; build it again here")
    names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    if names != {*INPUTS, *OUTPUTS}:
        raise UserError(
            f"{path}: not an engine of ours: its tensors are {sorted(names)}; build it: python -m engines.build"
        )
    metadata = sidecar.read_metadata(path) if sidecar else _metadata_beside(path)
    return OpenEngine(trt, logger, runtime, engine, metadata, path)


def _library(plugins: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    if plugins is not None:
        return plugins
    from trt_plugins import library_path

    try:
        return library_path()
    except FileNotFoundError:
        return None


def _metadata_beside(path: Path) -> Metadata:
    source = path.with_suffix(".onnx")
    if not source.is_file():
        raise UserError(f"{path}: has no sidecar; expected at least the file it was built of, {source.name}, beside it")
    return Metadata.of_file(source)
