"""What only a GPU can prove of the runners: memory and recordings in TensorRT itself."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import engines
from benchmarks.harness.load import used_device_memory
from export import export_onnx
from export.bounds import choose_bounds
from refinemask.agreement import PARITY, compare, passes, verification_images
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.transforms import preprocess
from refinemask.weights import read_config
from tests.support.runner_batches import assert_same

pytestmark = [pytest.mark.gpu, pytest.mark.tensorrt, pytest.mark.slow]
CHECKPOINT = DEMO / "weights" / "refinemask-nuclei.safetensors"
SIZES = ((256, 256), (128, 384), (384, 384), (384, 256), (96, 96), (320, 320))
LARGEST = (384, 384)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine of the demo's model, and the file that it is made of."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    pytest.importorskip("tensorrt")
    onnx = tmp_path_factory.mktemp("engine") / "nuclei.onnx"
    export_onnx(CHECKPOINT, onnx, bounds=choose_bounds(read_config(CHECKPOINT).preprocessing, batch=(1,)))
    engines.build_engine(onnx, onnx.with_suffix(".engine"))
    return onnx.with_suffix(".engine")


@pytest.fixture
def load(built: Path) -> Callable[..., engines.Engine]:
    return lambda **options: engines.load(built, device="cuda", **options)


def inputs_of(size: tuple[int, int], index: int = 0) -> Any:
    """One picture of nuclei, padded to a size."""
    picture = verification_images(NUCLEI / "images")[index]
    return preprocess([picture], read_config(CHECKPOINT).preprocessing, size)[:2]


def rounds() -> Iterator[tuple[tuple[int, int], int]]:
    """All sizes in turn: the first round grows the memory, the others use contexts again or make them anew."""
    for number in range(4):
        yield from ((size, number % 2) for size in (SIZES if number % 2 else SIZES[:3]))


@pytest.mark.parametrize("backend", ["tensorrt", "pycuda"])
def test_shapes_in_turn_agree_with_onnx_runtime(built: Path, load: Callable[..., Any], backend: str) -> None:
    if backend == "pycuda":
        pytest.importorskip("pycuda.driver")
    exact, engine = engines.load(built.with_suffix(".onnx")), load(backend=backend)
    for size, index in rounds():
        batch = inputs_of(size, index)
        expected, found = (each.infer(*batch) for each in (exact, engine))
        assert passes([compare((1, *size), expected, found)], PARITY["fp32"]), size


def test_a_recording_gives_what_the_launches_give(load: Callable[..., Any]) -> None:
    plain, recorded = load(cuda_graph=False), load()
    for size, index in rounds():
        assert_same(recorded.infer(*inputs_of(size, index)), plain.infer(*inputs_of(size, index)))


def test_small_shapes_take_no_more_than_the_largest(load: Callable[..., Any]) -> None:
    engine = load(cuda_graph=False)
    engine.infer(*inputs_of(LARGEST))
    torch.cuda.synchronize()
    before = used_device_memory("cuda")
    for size in SIZES:
        engine.infer(*inputs_of(size))
    grown = (used_device_memory("cuda") or 0) - (before or 0)
    (slot,) = [engine._free.get()]
    _, largest = slot.shapes._memory
    assert largest > 0
    assert grown < largest, "shapes have memory of their own to compute in"
