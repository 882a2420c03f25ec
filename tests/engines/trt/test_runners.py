"""TensorRT's two runners, with PyTorch's buffers and without PyTorch, on stand-ins for TensorRT and the GPU."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import numpy as np
import pytest

import engines
from engines import base, on_device
from engines.trt import runtime
from engines.trt.shapes import CACHED_SHAPES
from engines.trt.sidecar import Sidecar, write_sidecar
from refinemask import prediction
from refinemask.contract import Bounds
from refinemask.files import UserError, sha256
from refinemask.structures import Detections, ImageDetections
from tests.support import fake_tensorrt
from tests.support.fake_tensorrt import FakeContext, FakeEngine, FakeRuntime
from tests.support.runner_batches import Batch, assert_same, batch_of
from tests.support.threads import assert_threads_find_what_one_finds, batches_of, detect, finish
from trt_plugins.c_api import Kernels
from trt_plugins.torch_kernels import TorchKernels

Load = Callable[..., engines.Engine]
ROOT = Path(__file__).resolve().parents[3]
NAMES = {"tensorrt": "TensorRT", "pycuda": "TensorRT (pycuda)"}


def test_gives_the_detections_of_the_file(
    load: Load, backend: str, batch: Batch, expected: Callable[..., Detections], gpu_contexts: list[str]
) -> None:
    engine = load()
    assert (engine.name, engine.precision, engine.device) == (NAMES[backend], "fp32", "cuda")
    assert isinstance(engine.bounds, Bounds)
    assert engine.bounds.width == (32, 64, 256)
    assert_same(engine.infer(*batch), expected(*batch))
    assert gpu_contexts.count("push") == gpu_contexts.count("pop")
    assert ("push" in gpu_contexts) == (backend == "pycuda")


def test_every_shape_in_turn(load: Load, batch: Batch, expected: Callable[..., Detections]) -> None:
    engine = load()
    shapes = [batch, *(batch_of(width) for width in range(32, 32 * (CACHED_SHAPES + 3), 32)), batch]
    assert len(shapes) > CACHED_SHAPES
    for each in shapes:
        assert_same(engine.infer(*each), expected(*each))


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_the_shapes_last_seen_keep_their_context(load_torch: Load, cuda_graph: bool) -> None:
    engine = load_torch(cuda_graph=cuda_graph)
    for index in (*range(CACHED_SHAPES), 0, CACHED_SHAPES, 0):
        engine.infer(*batch_of(32 * (index + 1)))
    (opened,) = FakeEngine.opened
    assert len(opened.contexts) == CACHED_SHAPES + 1, "the shape used in between is not the one that gives way"
    engine.infer(*batch_of(64))
    assert len(opened.contexts) == CACHED_SHAPES + 2, "the shape used longest ago is"


def test_results_stay_valid_after_the_next_call(load: Load, batch: Batch, expected: Callable[..., Detections]) -> None:
    engine = load()
    first = engine.infer(*batch)
    engine.infer(255 - batch[0], batch[1])
    assert_same(first, expected(*batch))


@pytest.mark.parametrize(("cuda_graph", "calls", "executions"), [(False, 3, 3), (True, 2, 3)])
def test_a_recorded_graph_replaces_the_calls(
    load_torch: Load,
    expected: Callable[..., Detections],
    cuda_graph: bool,
    calls: int,
    executions: int,
) -> None:
    engine = load_torch(cuda_graph=cuda_graph)
    for seed in range(3):
        assert_same(engine.infer(*batch_of(64, seed)), expected(*batch_of(64, seed)))
    (context,) = FakeEngine.opened[0].contexts
    # With a graph: once to warm up and once to record, which executes nothing.
    assert (context.calls, context.executions) == (calls, executions)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_output_shapes_that_depend_on_the_data(
    load_torch: Load, expected: Callable[..., Detections], monkeypatch: pytest.MonkeyPatch, cuda_graph: bool
) -> None:
    monkeypatch.setattr(FakeEngine, "data_dependent", ("boxes", "labels", "masks"))
    engine = load_torch(cuda_graph=cuda_graph)
    for seed in range(3):
        assert_same(engine.infer(*batch_of(64, seed)), expected(*batch_of(64, seed)))
    (context,) = FakeEngine.opened[0].contexts
    assert context.calls == context.executions == 3, "a recording would not follow the allocator"


def test_pycuda_refuses_output_shapes_that_depend_on_the_data(
    engine_file: Path, sidecar: Sidecar, gpu_contexts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "data_dependent", ("boxes",))
    with pytest.raises(UserError, match="its output shapes depend on the data; build it with plugins"):
        engines.load(engine_file, backend="pycuda", device="cuda").infer(*batch_of(64))


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_slots_run_at_the_same_time_each_in_its_context(
    load_torch: Load, expected: Callable[..., Detections], monkeypatch: pytest.MonkeyPatch, cuda_graph: bool
) -> None:
    engine = load_torch(slots=2, cuda_graph=cuda_graph)
    batches = [batch_of(64, seed) for seed in range(4)]
    for each in batches[:2]:
        engine.infer(*each)
    both, executed = Barrier(2), []

    def meet(context: FakeContext) -> None:
        executed.append(context)
        both.wait(timeout=60)

    monkeypatch.setattr(FakeEngine, "while_executing", staticmethod(meet))
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda each: engine.infer(*each), batches))
    for each, detections in zip(batches, found, strict=True):
        assert_same(detections, expected(*each))
    assert len(executed) == 4
    assert len(set(executed)) == 2


def test_threads_take_turns_in_one_slot(
    load_torch: Load, expected: Callable[..., Detections], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, busy = load_torch(slots=1), Lock()

    def alone(context: FakeContext) -> None:
        assert busy.acquire(blocking=False), "two batches at a time"
        time.sleep(0.01)
        busy.release()

    monkeypatch.setattr(FakeEngine, "while_executing", staticmethod(alone))
    batches = [batch_of(64, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda each: engine.infer(*each), batches))
    for each, detections in zip(batches, found, strict=True):
        assert_same(detections, expected(*each))


def test_threads_find_what_one_finds(load: Load, backend: str) -> None:
    engine = load()
    assert engine.concurrency == {"tensorrt": 2, "pycuda": 1}[backend]
    assert engine.preferred_batch == 1
    assert_threads_find_what_one_finds(engine, batches_of((64, 96), (96, 64), (64, 64), counts=(1, 2)))


def test_a_batch_computes_while_the_host_pastes_masks_of_another(
    engine_file: Path, sidecar: Sidecar, gpu_contexts: list[str], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines.load(engine_file, backend="pycuda", device="cuda")
    paste, met = base.encode, []

    def paste_slowly(*arguments: Any) -> list[ImageDetections]:
        met.append(finish(lambda: engine.infer(*batch_of(64))))
        return paste(*arguments)

    monkeypatch.setattr(base, "encode", paste_slowly)
    detect(engine, batch)
    assert met[0].num_detections.tolist() == [3]


def test_goes_on_after_a_refusal(
    load: Load, batch: Batch, expected: Callable[..., Detections], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, single = load(), batch_of(96)
    assert_same(engine.infer(*single), expected(*single))
    with monkeypatch.context() as refusing:
        refusing.setattr(FakeEngine, "largest_batch", 1)
        with pytest.raises(UserError, match=r"does not take images of shape \[2, 3, 64, 96\]"):
            engine.infer(*batch)
    assert_same(finish(lambda: engine.infer(*single)), expected(*single))
    with monkeypatch.context() as failing:
        failing.setattr(FakeEngine, "fails", True)
        with pytest.raises(UserError, match="the execution failed"):
            engine.infer(*batch)
    assert_same(finish(lambda: engine.infer(*batch)), expected(*batch))


def test_a_slot_whose_run_fails_is_given_back(load_torch: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_torch(cuda_graph=False)
    uploaded = engine.upload(*batch_of(64))
    with monkeypatch.context() as failing:
        failing.setattr(FakeEngine, "fails", True)
        with pytest.raises(UserError, match="the execution failed"):
            engine.run(uploaded)
    assert finish(lambda: engine.infer(*batch_of(64))).num_detections.tolist() == [3]


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_the_torch_runner_pastes_on_the_gpu(
    load_torch: Load,
    batch: Batch,
    expected: Callable[..., Detections],
    host_kernels: Kernels,
    monkeypatch: pytest.MonkeyPatch,
    cuda_graph: bool,
) -> None:
    monkeypatch.setattr(on_device, "device_kernels", lambda: TorchKernels(host_kernels))
    monkeypatch.setattr(on_device, "download", lambda detections: pytest.fail("the masks were copied"))
    engine = load_torch(cuda_graph=cuda_graph)
    scales, shapes = np.array([[1, 1, 1, 1], [2, 2.5, 2, 2.5]], np.float32), [(64, 96), (20, 40)]
    for images in (batch[0], 255 - batch[0]):
        found = finish(partial(engine.detect, images, batch[1], scales, shapes))
        theirs = prediction.encode(expected(images, batch[1]), scales, shapes)
        assert [len(each.rles) for each in found] == [3, 3]
        for ours, reference in zip(found, theirs, strict=True):
            assert ours.rles == reference.rles
            np.testing.assert_array_equal(ours.boxes, reference.boxes)
            np.testing.assert_array_equal(ours.scores, reference.scores)


def test_a_slot_whose_masks_cannot_be_encoded_is_given_back(load_torch: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, single = load_torch(), batch_of(64)
    scales, shapes = np.ones((1, 4), np.float32), [(64, 64)]

    def refuse(*arguments: object) -> list[ImageDetections]:
        raise ValueError("masks and boxes must be finite")

    with monkeypatch.context() as refusing:
        refusing.setattr(on_device, "encode", refuse)
        with pytest.raises(ValueError, match="finite"):
            engine.detect(*single, scales, shapes)
    assert finish(lambda: engine.infer(*single)).num_detections.tolist() == [3]


def test_a_lack_of_memory_is_named(load: Load, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEngine, "most_contexts", 0)
    with pytest.raises(UserError, match=r"toy\.engine: no memory for one more execution context: out of memory"):
        load().infer(*batch)


def test_refuses_a_foreign_engine_before_loading_it(
    load: Load, engine_file: Path, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt.FakeRuntime, "deserialize_cuda_engine", lambda *_: pytest.fail("it was loaded"))
    engine_file.write_bytes(b"other code")
    with pytest.raises(UserError, match=r"its SHA-256 is .*build it again: python -m engines\.build"):
        load()
    write_sidecar(replace(sidecar, engine_sha256=sha256(engine_file), capabilities=("9.0",)), engine_file)
    with pytest.raises(UserError, match=r"compute capability is 8\.9, the engine's is 9\.0"):
        load(trust_engine=True)


def test_the_code_in_an_engine_is_allowed_where_its_sidecar_says_version_compatible(
    load: Load, engine_file: Path, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "has_host_code", True)
    with pytest.raises(UserError, match="host code is not allowed"):
        load()
    write_sidecar(replace(sidecar, newer_versions=True), engine_file)
    load()


def test_what_was_hashed_is_what_runs(
    load: Load, engine_file: Path, batch: Batch, expected: Callable[..., Detections], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = runtime.check_sidecar

    def overtaken(*arguments: Any, **options: Any) -> None:
        check(*arguments, **options)
        engine_file.write_bytes(b"other code")

    monkeypatch.setattr(runtime, "check_sidecar", overtaken)
    assert_same(load().infer(*batch), expected(*batch))


@pytest.mark.usefixtures("gpu_contexts")
def test_an_engine_without_a_sidecar_needs_trust(engine_file: Path, backend: str, batch: Batch) -> None:
    load = partial(engines.load, engine_file, backend=backend, device="cuda")
    with pytest.raises(UserError, match="--trust-engine"):
        load()
    trusted = load(trust_engine=True)
    assert trusted.infer(*batch).num_detections.tolist() == [3, 3]
    assert trusted.precision == "tf32", "TensorRT's default, where nothing says that it was off"
    assert load(trust_engine=True, precision="fp32").precision == "fp32"
    with pytest.raises(UserError, match="built in tf32, not fp16"):
        load(trust_engine=True, precision="fp16")
    engine_file.with_suffix(".onnx").unlink()
    with pytest.raises(UserError, match=r"expected at least the file it was built of, toy\.onnx"):
        load(trust_engine=True)


def test_plugins_are_loaded_where_a_logger_listens(
    load: Load, engine_file: Path, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    load()
    assert FakeRuntime.calls == ["runtime", "TensorRT's plugins"]
    library = engine_file.with_name("plugins.so")
    library.touch()
    monkeypatch.setattr(runtime, "library_path", lambda: library)
    write_sidecar(replace(sidecar, plugins=library.name, plugins_sha256=sha256(library)), engine_file)
    FakeRuntime.calls.clear()
    load()
    assert FakeRuntime.calls == ["runtime", "TensorRT's plugins", "library"]


def test_a_broken_engine(load: Load, engine_file: Path, sidecar: Sidecar, gpu_contexts: list[str]) -> None:
    engine_file.write_bytes(b"no engine")
    write_sidecar(replace(sidecar, engine_sha256=sha256(engine_file)), engine_file)
    with pytest.raises(UserError, match=r"TensorRT 10\.13\.0\.35 cannot load it"):
        load()
    assert gpu_contexts.count("push") == gpu_contexts.count("pop")


def test_wrong_requests(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="use --device cuda"):
        load(device="cpu")
    for other in ("fp16", "tf32"):
        with pytest.raises(UserError, match=f"built in fp32, not {other}"):
            load(precision=other)
    monkeypatch.setattr(runtime, "cuda_device", lambda: None)
    with pytest.raises(UserError, match="needs a GPU"):
        load()


@pytest.mark.parametrize(("option", "value"), [("slots", 2), ("cuda_graph", False)])
def test_pycuda_has_one_slot_and_no_graph(engine_file: Path, option: str, value: object) -> None:
    with pytest.raises(UserError, match=f"backend 'pycuda' has no {option} on device 'cuda'; leave it out"):
        engines.load(engine_file, backend="pycuda", device="cuda", **{option: value})  # type: ignore[arg-type]


def test_pycuda_imports_no_pytorch() -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from types import ModuleType as M, SimpleNamespace as N\n"
        "sys.modules.update({'pycuda': M('pycuda'), 'pycuda.driver': N(DeviceAllocation=int)})\n"
        "sys.modules['pycuda'].driver = sys.modules['pycuda.driver']\n"
        "import engines.trt.pycuda_runner, refinemask.masks, refinemask.data.transforms, refinemask.data.images\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": str(ROOT)})


def test_a_missing_pycuda_is_named(engine_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.delitem(sys.modules, "engines.trt.pycuda_runner", raising=False)
    with pytest.raises(UserError, match=r"needs pycuda, which is not installed; pip install 'refinemask\[pycuda\]'"):
        engines.load(engine_file, backend="pycuda", device="cuda")


def test_the_pytorch_runner_says_what_it_needs(engine_file: Path) -> None:
    import torch

    with pytest.raises(UserError, match="use --device cuda"):
        engines.load(engine_file)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="PyTorch sees no GPU"):
            engines.load(engine_file, device="cuda")
