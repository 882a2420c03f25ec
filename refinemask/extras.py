"""Which extra brings a package that is missing: ``pip install 'refinemask[EXTRA]'``."""

from collections.abc import Iterator
from contextlib import contextmanager

from refinemask.files import UserError

EXTRAS: dict[str, tuple[str, ...]] = {
    "benchmarks": ("bench",),
    "fsspec": ("ray",),
    "matplotlib": ("bench",),
    "ml_dtypes": ("export",),
    "onnx": ("export",),
    "onnx_ir": ("export",),
    "onnxruntime": ("cpu", "gpu"),
    "onnxscript": ("export",),
    "openvino": ("openvino",),
    "psutil": ("train",),
    "pyarrow": ("ray",),
    "pycuda": ("pycuda",),
    "ray": ("ray",),
    "safetensors": ("train",),
    "supervision": ("draw",),
    "tensorboard": ("train",),
    "tensorrt": ("tensorrt",),
    "tensorrt_lean": ("lean",),
    "tensorrt_rtx": ("rtx",),
    "torch": ("train",),
    "torchvision": ("train",),
    "tritonclient": ("triton",),
    "yaml": ("evaluate",),
}
"""Extras of pyproject.toml that bring each optional module; any one of them does."""
WHOLE = {
    "export": {"safetensors", "torch", "torchvision"},
    "openvino": {"onnx"},
    "tensorrt": {"onnx"},
}
"""What an extra brings besides, so that who needs all of it is told its name alone."""


class MissingPackageError(UserError, ImportError):
    """A package of an extra is missing."""


def missing_package(
    error: ImportError, needed_by: str, *, extra: str = "", otherwise: str = ""
) -> MissingPackageError | None:
    """The error that names the extra of a module which could not be imported; None if no extra has it.

    Args:
        error: what the import raised.
        needed_by: what needs the module, the first words of the line.
        extra: the extra to name if it brings the module, too.
        otherwise: what else helps, the last words of the line.
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    state = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
    line = f"{needed_by} needs {module.replace('_', '-')}, which {state}; {install_command(module, extra)}"
    return MissingPackageError(f"{line}, or {otherwise}" if otherwise else line, name=error.name)


def install_command(module: str, extra: str = "") -> str:
    """The command that installs an optional module, by the given extra if that brings it."""
    extras = (extra,) if module in WHOLE.get(extra, ()) else EXTRAS[module]
    return "pip install " + " or ".join(f"'refinemask[{each}]'" for each in extras)


@contextmanager
def needed_by(what: str, *, extra: str = "", otherwise: str = "") -> Iterator[None]:
    """Raise a :class:`MissingPackageError` where the block imports a package of an extra that is missing.

    Args:
        what: what needs the package, the first words of the line.
        extra: the extra to name if it brings the package, too.
        otherwise: what else helps, the last words of the line.
    """
    try:
        yield
    except MissingPackageError:
        raise
    except ImportError as error:
        missing = missing_package(error, what, extra=extra, otherwise=otherwise)
        if missing is None:
            raise
        raise missing from error
