"""Fixtures: an engine file that both runners open on stand-ins for TensorRT and the GPU.

The stand-ins need PyTorch, which some tests beside this file run without.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import engines
from engines import build, check
from engines.build import CheckOptions
from engines.trt import runtime, verified_build, verified_check
from engines.trt.check import CheckRequest, check_engine_file
from engines.trt.corners import Corner
from engines.trt.device import CudaDevice
from engines.trt.plan import BuildOptions, BuildPlan, Built
from engines.trt.sidecar import Sidecar, write_sidecar
from refinemask.files import sha256
from refinemask.structures import Detections

Load = Callable[..., engines.Engine]
L4 = CudaDevice("NVIDIA L4", "8.9", "13.0", "580.65")
BUILT = Built("10.13.0", {"compute": {"fp32": 1.0}}, None, [])


@pytest.fixture(params=["tensorrt", "pycuda"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def gpu_contexts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stand-ins, and an L4 as the GPU; gives pycuda's log of pushed and popped contexts."""
    from tests.support import fake_tensorrt

    monkeypatch.setattr(runtime, "cuda_device", lambda: L4)
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


def in_this_process(request: CheckRequest, flavour: str) -> tuple[Corner, ...]:
    return tuple(check_engine_file(request, lambda phase, share: None))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two pictures."""
    (tmp_path / "images").mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (50 + 30 * seed, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{seed}.png")
    return tmp_path / "images"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins; TensorRT "builds" the exported file itself."""
    from tests.support import fake_tensorrt

    def copy(plan: BuildPlan, engine: Path) -> Built:
        engine.write_bytes(plan.onnx.read_bytes())
        return BUILT

    for module in (runtime, verified_build, verified_check):
        monkeypatch.setattr(module, "cuda_device", lambda: L4)
    fake_tensorrt.install(monkeypatch)
    monkeypatch.setattr(verified_build, "build_in_child", copy)
    monkeypatch.setattr(verified_check, "check_in_child", in_this_process)


@pytest.fixture
def args(toy_onnx: Callable[..., Path], tmp_path: Path, images: Path, gpu: None) -> build.Args:
    options = BuildOptions(flavour="tensorrt", bodies=True)
    output = tmp_path / "out" / "toy.engine"
    return build.Args(model=toy_onnx(), output=output, build=options, comparison=CheckOptions(images=images))


@pytest.fixture
def unchecked(args: build.Args, capsys: pytest.CaptureFixture[str]) -> check.Args:
    """An engine that was built without a check, its exported file beside it."""
    output = args.model.with_suffix(".engine")
    assert build.main(replace(args, output=output, comparison=CheckOptions(check=False))) == 0
    capsys.readouterr()
    return check.Args(model=output, images=args.comparison.images)
