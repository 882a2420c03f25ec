"""The sidecar of an engine file, ``model.engine.json``: the engine's origin, and whether it may be loaded here.

An engine is native code: to load a file of unknown origin is to run unknown code. An engine also runs only where it was
built for. So the sidecar is checked before TensorRT sees the file.

It proves that nothing was mixed up: the file, the machine, the versions. It is no signature: whoever can write the
engine can write its sidecar, too.
"""

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from engines.trt.api import Flavour
from engines.trt.corners import Corner
from engines.trt.precision import as_tf32
from refinemask.contract import Metadata
from refinemask.files import UserError, atomic_write, sha256
from refinemask.foreign import one_line
from refinemask.json_files import checked, read_json

T = TypeVar("T")

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A SHA-256 in hexadecimal."""
Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}\Z")]
"""The name of a file or of a product, without control characters."""
Release = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,5}(\.[0-9]{1,5}){1,3}\Z")]
"""A version of numbers alone, such as ``10.13.0``."""
Capability = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,3}\.[0-9]\Z")]
"""A compute capability, such as ``8.9``."""
COMMAND_SHOWN = 300
"""Characters of a sidecar's command that an error repeats."""


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """An engine's origin."""

    engine_sha256: Digest
    """SHA-256 of the engine file."""
    onnx: Name
    """File name of the exported file."""
    onnx_sha256: Digest
    """SHA-256 of the exported file, as it was when the build was planned."""
    plugins: Name | None
    """File name of the plugin library; None if the engine needs none."""
    plugins_sha256: Digest | None
    """SHA-256 of the plugin library; None if the engine needs none."""
    flavour: Flavour
    """Kind of TensorRT: ``tensorrt`` or ``tensorrt_rtx``."""
    version: Release
    """Version of TensorRT, such as ``10.13.0``."""
    cuda: Name | None
    """Newest CUDA version that the building machine's driver serves; None for a build ahead of time."""
    driver: Name | None
    """Version of the building machine's driver; None if unknown."""
    gpu: Name | None
    """Name of the GPU that built the engine; None for a build ahead of time."""
    capabilities: tuple[Capability, ...]
    """Compute capabilities of the GPUs that run the engine, such as ``8.9``."""
    newer_capabilities: bool = False
    """Whether newer GPUs run the engine too (hardware compatible)."""
    newer_versions: bool = False
    """Whether newer TensorRT of the same major version runs the engine too (version compatible)."""
    metadata: dict[str, str]
    """Metadata properties of the ONNX file, with the precision and the bounds of the engine."""
    tf32: bool | None = None
    """Whether products of float32 may be computed in TensorFloat-32: in the precision ``tf32`` alone. A file from
    before there was that precision does not say."""
    precision: dict[str, dict[str, float]]
    """Share of each type among the compute layers, all layers and all tensors of the network, whose types the engine
    keeps. Sidecars of 0.5.0 and before have the inspector's shares here."""
    inspected: dict[str, dict[str, float]] | None = None
    """The same shares in the records of TensorRT's inspector, whose names of layers and types are free text."""
    optimization_level: int | None = None
    """How long TensorRT searched for fast kernels, 0 to 5; None is TensorRT's default."""
    tiling_level: str | None = None
    """How much it searched for ways to keep parts of maps in the GPU's cache; None is TensorRT's default."""
    auxiliary_streams: int | None = None
    """Most streams beside the main one; None is TensorRT's choice."""
    command: str
    """The command line that builds the engine again."""
    corners: tuple[Corner, ...] = ()
    """Shapes at which the engine's detections agreed with ONNX Runtime's and with its own at batch 1; empty if no check
    has passed."""
    unchecked: str | None = None
    """Why no check has passed; None if one has, or if the file is from before there were checks."""

    def read_metadata(self, path: str | os.PathLike[str]) -> Metadata:
        """The metadata with its types; ``path`` names the engine in errors.

        Raises:
            UserError: the metadata cannot be read.
        """
        return Metadata.from_properties(self.metadata, path)

    @property
    def again(self) -> str:
        """What to do about an engine that does not fit."""
        return f"build it again: {one_line(self.command, COMMAND_SHOWN)}"


def say_if_unchecked(engine: str | os.PathLike[str]) -> None:
    """Say on standard error that no check has seen an engine, and how to check it; nothing if one has passed."""
    path = sidecar_path(engine)
    sidecar = read_sidecar(engine) if path.is_file() else None
    if sidecar is not None and sidecar.corners:
        return
    reason = "it has no sidecar" if sidecar is None else sidecar.unchecked or "its sidecar is from before checks"
    command = f"python -m engines.check {engine}{'' if sidecar else ' --trust-engine'}"
    print(f"remark: {engine}: no check has passed ({one_line(reason)}); check it: {command}", file=sys.stderr)


def sidecar_path(engine: str | os.PathLike[str]) -> Path:
    """The path of an engine's sidecar: ``model.engine.json`` for ``model.engine``."""
    return Path(f"{engine}.json")


def write_sidecar(sidecar: Sidecar, engine: str | os.PathLike[str]) -> None:
    """Write the sidecar of an engine file, atomically."""
    with atomic_write(sidecar_path(engine)) as temporary:
        temporary.write_text(json.dumps(asdict(sidecar), indent=1) + "\n")


def read_sidecar(engine: str | os.PathLike[str]) -> Sidecar:
    """Read the sidecar of an engine file.

    Raises:
        UserError: there is no sidecar, or it is unreadable.
    """
    path = sidecar_path(engine)
    if not path.is_file():
        raise UserError(
            f"{engine}: has no sidecar {path.name}, so its origin is unknown, and an engine can run any code; build it "
            "here (python -m engines.build), or load it with --trust-engine if you built it yourself"
        )
    sidecar = read_fields(path, Sidecar, "build the engine again")
    return _with_tf32(sidecar) if sidecar.tf32 is None else sidecar


def read_fields(path: Path, kind: type[T], remedy: str) -> T:
    """A sidecar as a dataclass that has exactly its keys.

    Args:
        path: the sidecar.
        kind: the dataclass.
        remedy: what else to do, for errors.

    Raises:
        UserError: the file is no such sidecar.
    """
    expected = "a sidecar of python -m engines.build"
    content = read_json(path, f"{expected}; {remedy}")
    try:
        if not isinstance(content, dict):
            raise ValueError(f"it is no object of fields but {type(content).__name__}")
        if unknown := set(content) - {field.name for field in fields(kind)}:  # type: ignore[arg-type]
            raise ValueError(f"it has the unknown field {one_line(min(unknown))!r}")
        return checked(content, kind)
    except ValueError as error:
        raise UserError(f"{path}: not {expected} ({one_line(error)}); {remedy}") from error


def _with_tf32(sidecar: Sidecar) -> Sidecar:
    """A sidecar that was written before there was a precision ``tf32``, completed.

    TensorRT's default was kept then, which is TensorFloat-32: what such a sidecar calls fp32 is tf32.
    """
    sidecar = replace(sidecar, tf32=True)
    if sidecar.metadata.get("precision") != "fp32":
        return sidecar
    return replace(sidecar, metadata={**sidecar.metadata, "precision": "tf32"}, precision=as_tf32(sidecar.precision))


def check_sidecar(
    sidecar: Sidecar,
    engine: str | os.PathLike[str],
    content: bytes,
    *,
    flavour: Flavour,
    version: str,
    capability: str,
    plugins: str | os.PathLike[str] | None,
) -> None:
    """Refuse an engine that is not the file its sidecar describes, or was not built for this machine.

    Args:
        sidecar: the engine's sidecar.
        engine: the engine file, as errors name it.
        content: the bytes that are to run: of two readings of a file the second may be another's.
        flavour: the flavour of TensorRT here.
        version: the version of TensorRT here.
        capability: compute capability of the GPU here.
        plugins: the plugin library here.

    Raises:
        UserError: something differs; the message names it, and the command that builds the engine again.
    """
    differences = [
        f"{what} is {found}, the engine's is {expected}"
        for what, found, expected, fits in (
            ("its SHA-256", hashlib.sha256(content).hexdigest(), sidecar.engine_sha256, None),
            ("TensorRT's flavour", flavour, sidecar.flavour, None),
            ("TensorRT", version, sidecar.version, _version_fits(sidecar, version)),
            (
                "the GPU's compute capability",
                capability,
                one_line(" or ".join(sidecar.capabilities)) if sidecar.capabilities else "unknown",
                _capability_fits(sidecar, capability),
            ),
            ("the plugin library's SHA-256", _hash(sidecar, plugins), sidecar.plugins_sha256, None),
        )
        if not (found == expected if fits is None else fits)
    ]
    if differences:
        raise UserError(f"{engine}: does not fit: {'; '.join(differences)}; {sidecar.again}")


def _hash(sidecar: Sidecar, plugins: str | os.PathLike[str] | None) -> str | None:
    if sidecar.plugins_sha256 is None:
        return None
    return "unknown, there is no library" if plugins is None else sha256(plugins)


def _version_fits(sidecar: Sidecar, version: str) -> bool:
    if sidecar.newer_versions:
        parts, built = ([int(part) for part in text.split(".")[:3]] for text in (version, sidecar.version))
        return parts[0] == built[0] and parts >= built
    return version == sidecar.version


def _capability_fits(sidecar: Sidecar, capability: str) -> bool:
    if sidecar.newer_capabilities and sidecar.capabilities:
        oldest = min(tuple(map(int, each.split("."))) for each in sidecar.capabilities)
        return tuple(map(int, capability.split("."))) >= oldest
    return capability in sidecar.capabilities
