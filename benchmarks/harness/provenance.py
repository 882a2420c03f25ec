"""Where a number comes from: revision, versions, machine, date and file hashes."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from refinemask.files import sha256
from refinemask.provenance import git_revision

PACKAGES = (
    "refinemask", "torch", "torchvision", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "numpy", "opencv-python-headless", "pycocotools",
)  # fmt: skip
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")


@dataclass(frozen=True)
class Cpu:
    """What decides how fast a CPU is, and in which precisions."""

    model: str
    cores: int | None
    """Number of cores that this process may use; None where the system does not tell."""
    features: tuple[str, ...]
    """Vector and matrix instructions of :data:`CPU_FEATURES` that the CPU has."""


@dataclass(frozen=True)
class MeasuredFile:
    """A file's identity."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Provenance:
    """All that is needed to repeat a measurement."""

    date: str
    """Date and time in UTC, in ISO 8601."""
    revision: str | None
    """Commit of this code; see :func:`refinemask.provenance.git_revision`."""
    python: str
    versions: dict[str, str]
    """Installed versions of :data:`PACKAGES`."""
    system: str
    cpu: Cpu
    files: dict[str, MeasuredFile]
    """Measured files by name, without their directories."""


def provenance(files: Iterable[Path] = ()) -> Provenance:
    """The provenance of a measurement of these files that is being made."""
    return Provenance(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        revision=git_revision(),
        python=platform.python_version(),
        versions={name: version for name in PACKAGES if (version := _version(name))},
        system=f"{platform.system()} {platform.machine()}",
        cpu=cpu(),
        files={file.name: MeasuredFile(sha256(file), file.stat().st_size) for file in sorted(set(files))},
    )


def cpu() -> Cpu:
    """This machine's CPU."""
    fields: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return Cpu(
        model=fields.get("model name", platform.processor()),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        features=tuple(feature for feature in CPU_FEATURES if feature in flags),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
