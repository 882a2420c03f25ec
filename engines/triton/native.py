"""Whether Triton's own backend computes a file as this project does, and the plugin library that it needs."""

from pathlib import Path

from engines.triton.source import Source
from refinemask.files import UserError, sha256
from trt_plugins import BUILD_COMMAND, library_path

AS_WRITTEN = ("fp32", "fp16", "bf16")
"""Precisions of files that ONNX Runtime computes rightly without this project's options of a session."""


def require_native(source: Source, precision: str) -> None:
    """Raise a UserError unless Triton's ONNX Runtime or TensorRT runs the file, in that precision."""
    instead = "use --network python"
    if source.backend not in ("onnxruntime", "tensorrt"):
        raise UserError(
            f"{source.path}: --network native runs .onnx files in ONNX Runtime and .engine files in TensorRT, and the "
            f"backend is {source.backend}; {instead}"
        )
    if source.tensorrt is not None and source.tensorrt.flavour != "tensorrt":
        raise UserError(
            f"{source.path}: is an engine of {source.tensorrt.flavour}, which Triton does not run; {instead}"
        )
    if source.backend == "onnxruntime" and precision not in AS_WRITTEN:
        raise UserError(
            f"{source.path}: Triton's ONNX Runtime computes {precision} with settings of its own, which this project "
            f"does not prove; {instead}"
        )


def plugin_library(source: Source) -> Path | None:
    """The plugin library that a TensorRT engine was built with; None if it needs none.

    Raises:
        UserError: it is not here, or is another one.
    """
    sidecar = source.tensorrt
    if sidecar is None or sidecar.plugins_sha256 is None:
        return None
    try:
        library = library_path()
    except FileNotFoundError as error:
        raise UserError(f"{source.path}: needs the plugin library {sidecar.plugins}: {error}") from error
    if (found := sha256(library)) != sidecar.plugins_sha256:
        raise UserError(
            f"{library}: its SHA-256 is {found}, that of the engine's library is {sidecar.plugins_sha256}; build it as "
            f"it was ({BUILD_COMMAND}), or {sidecar.again}"
        )
    return library
