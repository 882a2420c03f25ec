"""Sidecars of engines and of compiled packages: what is read has its types, everything else is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.compiled.sidecar import check_compiled_sidecar, read_compiled_sidecar
from engines.trt.sidecar import check_sidecar, read_sidecar, sidecar_path
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_bytes, mutated_json, refusal
from tests.support.toy_onnx import METADATA

SHA = "0" * 64
ENGINE: dict[str, Any] = {
    "engine_sha256": SHA, "onnx": "a.onnx", "onnx_sha256": SHA, "plugins": "p.so", "plugins_sha256": SHA,
    "flavour": "tensorrt", "version": "10.13.0", "cuda": "13.0", "driver": "580.65", "gpu": "NVIDIA L4",
    "capabilities": ["8.9"], "newer_capabilities": True, "newer_versions": True, "metadata": METADATA, "tf32": False,
    "precision": {"compute": {"fp32": 1.0}, "layers": {}, "tensors": {}}, "command": "python -m engines.build a.onnx",
}  # fmt: skip
PACKAGE: dict[str, Any] = {
    "package_sha256": SHA, "checkpoint": "a.safetensors", "checkpoint_sha256": SHA, "recipe": "r50",
    "config": METADATA["config"], "precision": "fp32", "device": "cpu", "target": "AVX2", "torch": "2.11.0",
    "processor": "", "batch": 2, "sizes": [[64, 96]], "agreement": [40, 42], "command": "python -m engines.build a",
}  # fmt: skip


def use_engine(path: Path) -> None:
    sidecar = read_sidecar(path)
    assert all(isinstance(text, str) for text in (*sidecar.capabilities, *sidecar.metadata.values()))
    sidecar.read_metadata(path)
    machine: dict[str, Any] = {"flavour": "tensorrt", "version": "10.14.0", "capability": "9.0", "plugins": None}
    check_sidecar(sidecar, path, path.read_bytes(), **machine)


def use_package(path: Path) -> None:
    sidecar = read_compiled_sidecar(path)
    assert sidecar.canvases.sizes == sidecar.sizes
    sidecar.model_config(path)
    check_compiled_sidecar(sidecar, path, SHA, "cpu")


@pytest.mark.parametrize(("content", "use"), [(ENGINE, use_engine), (PACKAGE, use_package)], ids=["engine", "package"])
def test_damaged_sidecars_are_read_or_refused(
    seeds: Seeds, tmp_path: Path, content: dict[str, Any], use: Callable[[Path], None]
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"native code")
    whole = json.dumps(content).encode()
    refused = 0
    for random in seeds(400):
        if random.random() < 0.7:
            data = json.dumps(mutated_json(content, random)).encode()
        else:
            data = mutated_bytes(whole, random)
        sidecar_path(path).write_bytes(data)
        refused += refusal(lambda: use(path)) is not None
    assert refused > 200
