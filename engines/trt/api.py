"""What building and running share of TensorRT's Python API. Imports neither TensorRT nor PyTorch by itself.

Two flavours have the same API: ``tensorrt`` and, for consumer cards, ``tensorrt_rtx``.
"""

import importlib
import os
from pathlib import Path
from typing import Any, Literal

from refinemask.extras import install_command
from refinemask.files import UserError, sha256
from refinemask.foreign import one_line, reason
from trt_plugins import require_as_built

Flavour = Literal["tensorrt", "tensorrt_rtx"]
OLDEST, TOO_NEW = (10, 3), (12, 0)
"""Oldest supported and first unsupported version. Before 10.7 TensorRT ignores plugins where a function has a body, so
it needs files without bodies."""
_loaded: dict[tuple[Any, Path], str] = {}
"""SHA-256 of the libraries whose plugins are registered, each with the module of TensorRT."""


def import_tensorrt(flavour: Flavour) -> Any:
    """The module ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        UserError: TensorRT is not installed, or of a version that this project does not know.
    """
    try:
        trt = importlib.import_module(flavour)
    except (ImportError, OSError) as error:
        raise UserError(f"{flavour} cannot be imported ({reason(error)}); {install_command(flavour)}") from error
    if flavour == "tensorrt":
        require_known(trt.__version__)
    return trt


def require_known(version: str) -> None:
    """Raise :class:`UserError` unless this project knows the version of TensorRT."""
    if not OLDEST <= _minor(version) < TOO_NEW:
        raise UserError(f"TensorRT {version} is not supported; expected 10.3 or newer, and older than 12")


def require_tiling(version: str) -> None:
    """Raise :class:`UserError` unless this version of plain TensorRT has tiling levels."""
    if _minor(version) < (10, 8):
        raise UserError(f"TensorRT {version} has no tiling levels, which came with 10.8; leave out --tiling-level")


def _minor(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def short_version(version: str) -> str:
    """The part of a version that decides whether an engine can be loaded: ``10.13.0`` of ``10.13.0.35``."""
    return ".".join(version.split(".")[:3])


def make_logger(trt: Any) -> Any:
    """A logger that prints warnings to standard error and keeps the errors in its list ``errors``."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            elif severity <= trt.ILogger.Severity.WARNING:
                os.write(2, f"{message}\n".encode())

    return Logger()


def load_plugins(trt: Any, library: str | os.PathLike[str] | None, logger: Any) -> None:
    """Register TensorRT's own plugins where it has some, and those of our library; once is enough for a process.

    Args:
        trt: the module of TensorRT.
        library: our library; None if no operator of ours is needed.
        logger: the logger of the builder or the runtime. One of them must exist, or TensorRT has no one to tell the
            reason of a refusal.

    Raises:
        UserError: the library is missing or not what was built there, TensorRT does not accept it, or this process has
            loaded another one of this name.
    """
    # A file with the operators' bodies needs TensorRT's RoIAlign. TensorRT-RTX has no plugins of its own.
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(logger, "")
    if library is None:
        return
    # A bare file name would go through the search path of the dynamic linker.
    path = Path(os.path.realpath(library))
    if not path.is_file():
        raise UserError(f"{library}: no such plugin library; build it with: python -m trt_plugins.build")
    digest = sha256(path)
    # The registry refuses names that it already has.
    if (loaded := _loaded.get((trt, path))) is not None:
        if loaded != digest:
            raise UserError(f"{library}: has changed since this process loaded it; start the process again")
        return
    require_as_built(path)
    known = len(logger.errors)
    if trt.get_plugin_registry().load_library(str(path)) is None:
        said = one_line(next(iter(logger.errors[known:]), ""))
        raise UserError(
            f"{library}: TensorRT {trt.__version__} cannot load this plugin library: {said}; build it again on this "
            "machine: python -m trt_plugins.build --force"
        )
    _loaded[trt, path] = digest
