"""Where a number comes from: revision, versions, machine, date and file hashes."""

import os
import platform
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from refinemask.files import sha256
from refinemask.provenance import git_revision

PACKAGES = (
    "refinemask", "torch", "torchvision", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "numpy", "opencv-python-headless", "faster-coco-eval",
)  # fmt: skip
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")


def provenance(files: Iterable[Path]) -> dict[str, Any]:
    """What is needed to repeat a measurement, as JSON values.

    Args:
        files: what was measured; named without their directories, with SHA-256 and size.
    """
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "revision": git_revision(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu(),
        "files": {file.name: {"sha256": sha256(file), "bytes": file.stat().st_size} for file in sorted(set(files))},
    }


def cpu() -> dict[str, Any]:
    """Model, usable cores and the vector and matrix instructions that decide which precisions are fast."""
    fields: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "model": fields.get("model name", platform.processor()),
        "cores": cores,
        "features": [feature for feature in CPU_FEATURES if feature in flags],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
