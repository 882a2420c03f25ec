"""Fixtures: an engine file that both runners open on stand-ins for TensorRT and the GPU.

The stand-ins need PyTorch, which some tests beside this file run without.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import engines
from engines.trt import runtime
from engines.trt.device import CudaDevice
from engines.trt.sidecar import Sidecar, write_sidecar
from refinemask.files import sha256
from refinemask.structures import Detections

Load = Callable[..., engines.Engine]


@pytest.fixture(params=["tensorrt", "pycuda"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def gpu_contexts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stand-ins, and an L4 as the GPU; gives pycuda's log of pushed and popped contexts."""
    from tests.support import fake_tensorrt

    monkeypatch.setattr(runtime, "cuda_device", lambda: CudaDevice("NVIDIA L4", "8.9", "13.0", "580.65"))
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def engine_file(toy_onnx: Callable[..., Path]) -> Path:
    from tests.support import fake_tensorrt

    return fake_tensorrt.write_engine(toy_onnx())


@pytest.fixture
def sidecar(engine_file: Path, metadata: dict[str, str]) -> Sidecar:
    sidecar = Sidecar(
        engine_sha256=sha256(engine_file),
        onnx="toy.onnx",
        onnx_sha256="0" * 64,
        plugins=None,
        plugins_sha256=None,
        flavour="tensorrt",
        version="10.13.0",
        cuda=None,
        driver=None,
        gpu="NVIDIA L4",
        capabilities=("8.9",),
        metadata=metadata,
        tf32=False,
        precision={},
        command="python -m engines.build toy.onnx -o toy.engine",
    )
    write_sidecar(sidecar, engine_file)
    return sidecar


@pytest.fixture
def load(engine_file: Path, backend: str, gpu_contexts: list[str], sidecar: Sidecar) -> Load:
    """Opens the engine file with one of the runners."""
    return partial(engines.load, engine_file, backend=backend, device="cuda")


@pytest.fixture
def load_torch(engine_file: Path, gpu_contexts: list[str], sidecar: Sidecar) -> Load:
    """Opens the engine file with the runner that has slots and CUDA graphs."""
    return partial(engines.load, engine_file, backend="tensorrt", device="cuda")


@pytest.fixture
def expected(engine_file: Path) -> Callable[..., Detections]:
    """The detections of ONNX Runtime."""
    return engines.load(engine_file.with_suffix(".onnx"), threads=1).infer
