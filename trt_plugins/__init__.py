"""CUDA kernels of the custom ops, and the TensorRT plugin library around them."""

import os
from pathlib import Path
from typing import TypedDict

from refinemask.files import UserError, sha256
from refinemask.json_files import checked, read_json

PACKAGE = Path(__file__).resolve().parent
LIBRARY_DIR = PACKAGE / "lib"
PLUGIN_LIBRARY = "librefinemask_plugins.so"
BUILD_COMMAND = "python -m trt_plugins.build"
REPORT = "compile_report.json"
"""Name of the file beside the libraries that says what they were built from, and what they are."""


class _Digests(TypedDict, total=False):
    """What is read of a report."""

    library_sha256: dict[str, str]
    """SHA-256 of each library, by name."""


def library_path() -> Path:
    """The TensorRT plugin library: for ``load_library`` of the plugin registry, or ``trtexec --dynamicPlugins``.

    Raises:
        FileNotFoundError: it has not been built.
    """
    return _built(PLUGIN_LIBRARY, "the TensorRT plugin library, which needs nvcc and TensorRT's headers")


def kernels_path() -> Path:
    """The library of the kernels alone, with their C interface (``kernels/refinemask_kernels.h``).

    Raises:
        FileNotFoundError: it has not been built.
    """
    return _built("librefinemask_kernels.so", "the CUDA kernels, which need nvcc")


def require_as_built(library: str | os.PathLike[str]) -> None:
    """Refuse a library whose bytes are not those that the report beside it was written for; call it before loading.

    This finds what was mixed up or damaged. A library without such a report, as of another build, is taken as it is.

    Raises:
        UserError: the bytes differ, or the report cannot be read.
    """
    path = Path(os.path.realpath(library))
    report = path.with_name(REPORT)
    if not path.is_file() or not report.is_file():
        return
    again = f"build it again: {BUILD_COMMAND}"
    content = read_json(report, f"the report of {BUILD_COMMAND}; {again}")
    try:
        expected = checked(content, _Digests).get("library_sha256", {}).get(path.name)
    except ValueError as error:
        raise UserError(f"{report}: not a report of {BUILD_COMMAND} ({error}); {again}") from error
    if expected is not None and (found := sha256(path)) != expected:
        raise UserError(
            f"{library}: refused, its SHA-256 is {found}, and {REPORT} beside it says {expected}: it is not the "
            f"library that was built there; {again}"
        )


def _built(name: str, what: str) -> Path:
    path = LIBRARY_DIR / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not built ({what}); build it with: {BUILD_COMMAND}")
    return path
