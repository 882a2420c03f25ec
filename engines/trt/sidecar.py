"""The sidecar of an engine file, ``model.engine.json``: the engine's origin, and whether it may be loaded here.

An engine is native code: to load a file of unknown origin is to run unknown code. An engine also runs only where it was
built for. So the sidecar is checked before TensorRT sees the file.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.trt.api import Flavour
from engines.trt.precision import as_tf32
from refinemask.contract import Metadata
from refinemask.files import UserError, atomic_write, sha256


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """An engine's origin."""

    engine_sha256: str
    """SHA-256 of the engine file."""
    onnx: str
    """File name of the exported file."""
    onnx_sha256: str
    """SHA-256 of the exported file, as it was when the build was planned."""
    plugins: str | None
    """File name of the plugin library; None if the engine needs none."""
    plugins_sha256: str | None
    """SHA-256 of the plugin library; None if the engine needs none."""
    flavour: Flavour
    """Kind of TensorRT: ``tensorrt`` or ``tensorrt_rtx``."""
    version: str
    """Version of TensorRT, such as ``10.13.0``."""
    cuda: str | None
    """Newest CUDA version that the building machine's driver serves; None for a build ahead of time."""
    driver: str | None
    """Version of the building machine's driver; None if unknown."""
    gpu: str | None
    """Name of the GPU that built the engine; None for a build ahead of time."""
    capabilities: tuple[str, ...]
    """Compute capabilities of the GPUs that run the engine, such as ``8.9``."""
    newer_capabilities: bool = False
    """Whether newer GPUs run the engine too (hardware compatible)."""
    newer_versions: bool = False
    """Whether newer TensorRT of the same major version runs the engine too (version compatible)."""
    metadata: dict[str, str]
    """Metadata properties of the ONNX file, with the precision and the bounds of the engine."""
    tf32: bool
    """Whether products of float32 may be computed in TensorFloat-32: in the precision ``tf32`` alone."""
    precision: dict[str, dict[str, float]]
    """Share of each type among the compute layers, all layers and all tensors."""
    command: str
    """The command line that builds the engine again."""

    def read_metadata(self, path: str | os.PathLike[str]) -> Metadata:
        """The metadata with its types; ``path`` names the engine in errors.

        Raises:
            UserError: the metadata cannot be read.
        """
        return Metadata.from_properties(self.metadata, path)


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
    try:
        content = _with_tf32(json.loads(path.read_text()))
        return Sidecar(**{**content, "capabilities": tuple(content["capabilities"])})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: not a sidecar of python -m engines.build ({error}); build the engine again"
        ) from error


def _with_tf32(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a sidecar, completed where it was written before there was a precision ``tf32``.

    TensorRT's default was kept then, which is TensorFloat-32: what such a sidecar calls fp32 is tf32.
    """
    if "tf32" in content:
        return content
    metadata, shares = content["metadata"], content["precision"]
    if metadata["precision"] == "fp32":
        metadata, shares = {**metadata, "precision": "tf32"}, as_tf32(shares)
    return {**content, "metadata": metadata, "precision": shares, "tf32": True}


def check_sidecar(
    sidecar: Sidecar,
    engine: str | os.PathLike[str],
    *,
    flavour: Flavour,
    version: str,
    capability: str,
    plugins: str | os.PathLike[str] | None,
) -> None:
    """Refuse an engine that is not the file its sidecar describes, or was not built for this machine.

    Args:
        sidecar: the engine's sidecar.
        engine: the engine file.
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
            ("its SHA-256", sha256(engine), sidecar.engine_sha256, None),
            ("TensorRT's flavour", flavour, sidecar.flavour, None),
            ("TensorRT", version, sidecar.version, _version_fits(sidecar, version)),
            (
                "the GPU's compute capability",
                capability,
                " or ".join(sidecar.capabilities),
                _capability_fits(sidecar, capability),
            ),
            ("the plugin library's SHA-256", _hash(sidecar, plugins), sidecar.plugins_sha256, None),
        )
        if not (found == expected if fits is None else fits)
    ]
    if differences:
        raise UserError(f"{engine}: does not fit: {'; '.join(differences)}; build it again: {sidecar.command}")


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
    if sidecar.newer_capabilities:
        oldest = min(tuple(map(int, each.split("."))) for each in sidecar.capabilities)
        return tuple(map(int, capability.split("."))) >= oldest
    return capability in sidecar.capabilities
