"""The TensorRT engines that are measured: exported, built and checked unless the work directory has them."""

from importlib.util import find_spec
from pathlib import Path

from benchmarks.efficiency.files import Source, exported, exported_name
from engines import build_engine
from engines.trt.sidecar import read_sidecar, sidecar_path
from refinemask.extras import install_command
from refinemask.files import UserError, sha256
from refinemask.modeling.exported import Precision
from trt_plugins import library_path

EXPORTED: dict[str, Precision] = {"fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "bf16": "bf16"}
"""Precision of the exported file, by the engine's. Files of other precisions need a calibration."""


def require_builder(backend: str, device: str) -> None:
    """Raise a UserError unless this machine can build and run what ``backend`` asks for: an export takes long."""
    if device == "cpu":
        raise UserError(f"{backend} runs on a GPU: add --device cuda, or leave the backend out")
    if not find_spec("tensorrt") and not find_spec("tensorrt_rtx"):
        raise UserError(f"{backend}: TensorRT is not installed; {install_command('tensorrt')}")
    try:
        library_path()
    except FileNotFoundError as error:
        raise UserError(f"{backend}: {error}") from error


def built(source: Source, precision: str, work: Path, images: Path, size: tuple[int, int] | None = None) -> Path:
    """The model's engine, unless ``work`` has it of the same exported file.

    Args:
        source: the model.
        precision: the engine's. An engine of a calibrated precision must be in ``work`` already.
        work: directory of the engines and exported files.
        images: directory of the images that the exported file is verified on.
        size: the one padded (height, width) that the engine takes; None is every size that the model's preprocessing
            gives.

    Raises:
        UserError: the export failed, or TensorRT refuses.
        FailedCheckError: the engine is not what it should be, and so was not written.
    """
    if precision not in EXPORTED:
        return _given(source, precision, work, size)
    onnx = exported(source, work, images, size, EXPORTED[precision])
    path = exported_name(source, work, size, precision).with_suffix(".engine")
    if not _was_built_of(path, onnx, precision):
        print(f"building {path.name}", flush=True)
        build_engine(onnx, path, precision=precision)
    return path


def _given(source: Source, precision: str, work: Path, size: tuple[int, int] | None) -> Path:
    """The engine of a calibrated precision that the user has built of this checkpoint."""
    path, original = (exported_name(source, work, size, name) for name in (precision, "fp16"))
    engine = path.with_suffix(".engine")
    recipe = (
        f"python -m export.quantize {original} -o {path} "
        f"--precision {precision} --images DIR && python -m engines.build {path} -o {engine}"
    )
    if not engine.is_file():
        raise UserError(
            f"{engine}: no such file; {precision} needs a calibration, by hand: {recipe} "
            f"(the backend tensorrt:fp16 makes {original.name})"
        )
    origin = read_sidecar(engine).metadata.get("source_sha256")
    if origin != sha256(source.checkpoint):
        raise UserError(f"{engine}: was not made of {source.checkpoint}; make it again: {recipe}")
    return engine


def _was_built_of(path: Path, onnx: Path, precision: str) -> bool:
    if not path.is_file() or not sidecar_path(path).is_file():
        return False
    sidecar = read_sidecar(path)
    origin = sidecar.onnx_sha256, sidecar.engine_sha256, sidecar.metadata.get("precision")
    return origin == (sha256(onnx), sha256(path), precision)
