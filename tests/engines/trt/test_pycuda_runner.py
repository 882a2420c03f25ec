"""The runner for machines without PyTorch, on stand-ins for TensorRT and pycuda."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.trt import runtime as tensorrt_runtime
from engines.trt.device import CudaDevice
from engines.trt.sidecar import Sidecar, write_sidecar
from refinemask.files import UserError, sha256
from tests.support import fake_tensorrt

Batch = tuple[np.ndarray, np.ndarray]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stand-ins, and an L4 as the GPU; gives the log of pushed and popped contexts."""
    monkeypatch.setattr(tensorrt_runtime, "cuda_device", lambda: CudaDevice("NVIDIA L4", "8.9", "13.0", "580.65"))
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def engine_file(toy_onnx: Callable[..., Path]) -> Path:
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
        precision={},
        command="python -m engines.build toy.onnx -o toy.engine",
    )
    write_sidecar(sidecar, engine_file)
    return sidecar


@pytest.mark.usefixtures("sidecar")
def test_gives_the_detections_of_the_file(engine_file: Path, batch: Batch, contexts: list[str]) -> None:
    engine = engines.load(engine_file, backend="pycuda", device="cuda")
    reference = engines.load(engine_file.with_suffix(".onnx"), threads=1)
    assert (engine.name, engine.precision, engine.bounds) == ("TensorRT (pycuda)", "fp32", reference.bounds)
    # Another shape in between makes new buffers; the first result must survive it.
    first = engine.infer(*batch)
    engine.infer(batch[0][:1, :, :32], [[20, 60]])
    for found, expected in zip(first, reference.infer(*batch), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert contexts.count("push") == contexts.count("pop") > 0


@pytest.mark.usefixtures("sidecar", "contexts")
def test_images_on_the_device_are_not_copied(engine_file: Path, batch: Batch) -> None:
    engine: Any = engines.load(engine_file, backend="pycuda", device="cuda")
    images, sizes = (fake_tensorrt.FakeArray(array.shape, array.dtype) for array in batch)
    images.set(batch[0])
    sizes.set(batch[1])
    found = engine.infer_on_device(images, sizes)
    assert engine._context.addresses["images"] == images.gpudata
    for ours, expected in zip(found, engine.infer(*batch), strict=True):
        assert ours.__cuda_array_interface__["shape"] == expected.shape
        np.testing.assert_array_equal(ours.get(), expected)
    with pytest.raises(engines.InputError, match="expected an array with __cuda_array_interface__"):
        engine.infer_on_device(batch[0], sizes)
    with pytest.raises(engines.InputError, match="expected contiguous"):
        engine.infer_on_device(sizes, sizes)
    transposed = fake_tensorrt.FakeArray((2, 64, 96, 3), np.uint8)
    with pytest.raises(engines.InputError, match=r"expected \[B, 3, H, W\]"):
        engine.infer_on_device(transposed, sizes)
    strided = fake_tensorrt.FakeArray(batch[0].shape, np.uint8)
    strided.memory = strided.memory.transpose(0, 1, 3, 2)
    with pytest.raises(engines.InputError, match="expected contiguous"):
        engine.infer_on_device(strided, sizes)


@pytest.mark.usefixtures("contexts")
def test_refuses_a_foreign_engine_before_loading_it(
    engine_file: Path, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt.FakeRuntime, "deserialize_cuda_engine", lambda *_: pytest.fail("it was loaded"))
    engine_file.write_bytes(b"other code")
    with pytest.raises(UserError, match=r"its SHA-256 is .*build it again: python -m engines\.build"):
        engines.load(engine_file, backend="pycuda", device="cuda")
    write_sidecar(replace(sidecar, engine_sha256=sha256(engine_file), capabilities=("9.0",)), engine_file)
    with pytest.raises(UserError, match=r"compute capability is 8\.9, the engine's is 9\.0"):
        engines.load(engine_file, backend="pycuda", device="cuda", trust_engine=True)


@pytest.mark.usefixtures("contexts")
def test_an_engine_without_a_sidecar_needs_trust(engine_file: Path, batch: Batch) -> None:
    with pytest.raises(UserError, match="--trust-engine"):
        engines.load(engine_file, backend="pycuda", device="cuda")
    trusted = engines.load(engine_file, backend="pycuda", device="cuda", trust_engine=True)
    assert trusted.infer(*batch).num_detections.tolist() == [3, 3]
    engine_file.with_suffix(".onnx").unlink()
    with pytest.raises(UserError, match=r"expected at least the file it was built of, toy\.onnx"):
        engines.load(engine_file, backend="pycuda", device="cuda", trust_engine=True)


@pytest.mark.usefixtures("sidecar", "contexts")
def test_every_refusal_of_tensorrt_is_an_error(
    engine_file: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines.load(engine_file, backend="pycuda", device="cuda")
    monkeypatch.setattr(fake_tensorrt.FakeEngine, "largest_batch", 1)
    with pytest.raises(UserError, match=r"does not take images of shape \[2, 3, 64, 96\]"):
        engine.infer(*batch)
    monkeypatch.undo()
    monkeypatch.setattr(fake_tensorrt.FakeEngine, "fails", True)
    with pytest.raises(UserError, match="the execution failed"):
        engine.infer(*batch)


@pytest.mark.usefixtures("sidecar")
def test_a_broken_engine(engine_file: Path, sidecar: Sidecar, contexts: list[str]) -> None:
    engine_file.write_bytes(b"no engine")
    write_sidecar(replace(sidecar, engine_sha256=sha256(engine_file)), engine_file)
    with pytest.raises(UserError, match=r"TensorRT 10\.13\.0\.35 cannot load it"):
        engines.load(engine_file, backend="pycuda", device="cuda")
    assert contexts.count("push") == contexts.count("pop")


@pytest.mark.usefixtures("sidecar", "contexts")
def test_wrong_requests(engine_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="use --device cuda"):
        engines.load(engine_file, backend="pycuda")
    with pytest.raises(UserError, match="built in fp32, not fp16"):
        engines.load(engine_file, backend="pycuda", device="cuda", precision="fp16")
    monkeypatch.setattr(tensorrt_runtime, "cuda_device", lambda: None)
    with pytest.raises(UserError, match="needs a GPU"):
        engines.load(engine_file, backend="pycuda", device="cuda")


def test_imports_no_pytorch() -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from types import ModuleType as M, SimpleNamespace as N\n"
        "sys.modules.update({'pycuda': M('pycuda'), 'pycuda.driver': M('driver'), 'pycuda.gpuarray': N(GPUArray=0)})\n"
        "sys.modules['pycuda'].driver = sys.modules['pycuda.driver']\n"
        "import engines.trt.pycuda_runner, refinemask.masks, refinemask.data.transforms, refinemask.data.images\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": str(ROOT)})


def test_a_missing_pycuda_is_named(engine_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.delitem(sys.modules, "engines.trt.pycuda_runner", raising=False)
    with pytest.raises(UserError, match="pip install pycuda"):
        engines.load(engine_file, backend="pycuda", device="cuda")


def test_the_pytorch_runner_says_what_it_needs(engine_file: Path) -> None:
    import torch

    with pytest.raises(UserError, match="use --device cuda"):
        engines.load(engine_file)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="PyTorch sees no GPU"):
            engines.load(engine_file, device="cuda")
