"""A model's file and the files that belong to it, and what it says of itself, before it goes into a repository."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import engines
from engines.canvases import Canvases
from engines.file_precision import require_file_precision
from engines.triton.interface import BOUNDS, CANVASES, CONFIG
from engines.trt.sidecar import Sidecar, read_sidecar, sidecar_path
from refinemask.config import ModelConfig
from refinemask.config_json import to_json
from refinemask.contract import Bounds, Metadata
from refinemask.external_data import data_files
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.selection import Selection
from refinemask.stated_property import stated_property

_STATED = ("config", "precision", "bounds", "masks")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of a model's file without running it."""

    path: Path
    """The file."""
    beside: Sequence[Path]
    """Files that go with it: its sidecar, or the weights that an ONNX file keeps outside."""
    backend: str
    """The engine that runs it."""
    config: ModelConfig
    """Configuration of the model."""
    precision: str
    """Its own precision; that of a checkpoint is fp32."""
    bounds: Bounds | None
    """Batches and sizes that it accepts, where it says so."""
    canvases: Canvases | None = None
    """The only sizes within the bounds, of a compiled package."""
    tensorrt: Sidecar | None = None
    """The sidecar of a TensorRT engine."""

    def told(self) -> dict[str, str]:
        """What clients are told of the file: the model's configuration, which names the classes, and the sizes."""
        texts = {CONFIG: to_json(self.config)}
        if self.canvases is not None:
            return texts | {CANVASES: to_json(self.canvases)}
        return texts if self.bounds is None else texts | {BOUNDS: to_json(self.bounds)}


def source_of(path: Path, backend: str | None) -> Source:
    """Read what a model's file says of itself.

    Raises:
        UserError: it is no model of ours, cannot be run by that engine, or lacks its sidecar.
    """
    backend = engines.backend_of(path, backend)
    if path.suffix == ".onnx":
        texts = {name: text for name in _STATED if (text := stated_property(path, name)) is not None}
        return _of_metadata(path, data_files(path), backend, Metadata.from_properties(texts, path))
    if path.suffix == ".engine":
        sidecar = read_sidecar(path)
        return _of_metadata(path, [sidecar_path(path)], backend, sidecar.read_metadata(path), sidecar)
    with needed_by(f"{path}: backend '{backend}'", extra=backend):
        if path.suffix == ".pt2":
            return _of_package(path, backend)
        from refinemask.weights import read_config

        config = read_config(path)
    return Source(path=path, beside=[], backend=backend, config=config, precision="fp32", bounds=None)


def require_device(source: Source, device: str) -> None:
    """Raise a UserError unless the file's engine may run on a device, as far as can be said on any machine."""
    if not engines.DEVICE.fullmatch(device):
        raise UserError(f"{source.path}: there is no device '{one_line(device)}' (--device); expected cpu or cuda")
    only = {"tensorrt": "cuda", "pycuda": "cuda", "openvino": "cpu"}.get(source.backend)
    if only is not None and device != only:
        raise UserError(f"{source.path}: {source.backend} runs on {only} alone; use --device {only}")
    if ":" in device and source.backend != "pytorch":
        raise UserError(
            f"{source.path}: only a checkpoint names one of several GPUs; use --device cuda, in a server that sees one"
        )


def unopened_precision(source: Source, asked: str | None, selection: Selection, batch_size: int | None) -> str:
    """The precision in which a file will be served that was not opened here.

    Raises:
        UserError: it is a file of another precision, or gives no such detections, or takes no such batches.
    """
    if source.backend != "pytorch":
        require_file_precision(source.path, source.precision, asked, "it runs as it is")
        selection.of_results(source.config, source.path)
    require_batch(source.bounds, batch_size)
    return asked or source.precision


def require_batch(bounds: Bounds | None, batch_size: int | None) -> None:
    """Raise an InputError unless a file takes so many images at once, where it says what it takes."""
    if bounds is not None and batch_size is not None:
        bounds.check((batch_size, 3, bounds.height[1], bounds.width[1]))


def require_engine_bytes(source: Source, digests: dict[str, str]) -> None:
    """Raise a UserError unless a TensorRT engine is the file that its sidecar describes."""
    name = os.path.basename(source.path)
    if source.tensorrt is not None and digests[name] != source.tensorrt.engine_sha256:
        raise UserError(
            f"{source.path}: does not fit: its SHA-256 is {digests[name]}, the engine's is "
            f"{source.tensorrt.engine_sha256}; {source.tensorrt.again}"
        )


def _of_package(path: Path, backend: str) -> Source:
    from engines.compiled.sidecar import read_compiled_sidecar

    compiled = read_compiled_sidecar(path)
    return Source(
        path=path,
        beside=[sidecar_path(path)],
        backend=backend,
        config=compiled.model_config(path),
        precision=compiled.precision,
        bounds=compiled.canvases.bounds,
        canvases=compiled.canvases,
    )


def _of_metadata(
    path: Path, beside: Sequence[Path], backend: str, metadata: Metadata, sidecar: Sidecar | None = None
) -> Source:
    return Source(
        path=path,
        beside=beside,
        backend=backend,
        config=metadata.config,
        precision=metadata.precision,
        bounds=metadata.bounds,
        tensorrt=sidecar,
    )
