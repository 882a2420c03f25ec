"""Many shapes in one slot: one memory for all their contexts, and recordings that are bound to it."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

import engines
from engines.trt.shapes import CACHED_SHAPES
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.files import UserError
from refinemask.structures import Detections
from tests.support import fake_cuda, fake_tensorrt
from tests.support.fake_cuda import FakeGraph, FakeStream
from tests.support.fake_tensorrt import FakeContext, FakeEngine, FakeRuntimeConfig, memory_size
from tests.support.runner_batches import assert_same, batch_of

Load = Callable[..., engines.Engine]
Infer = Callable[..., Detections]
WIDTHS = (96, 32, 128, 64)


def contexts() -> list[FakeContext]:
    return FakeEngine.opened[0].contexts


@pytest.mark.parametrize("widths", [WIDTHS, sorted(WIDTHS), sorted(WIDTHS, reverse=True)])
def test_all_shapes_compute_in_the_memory_of_the_largest(load: Load, expected: Infer, widths: tuple[int, ...]) -> None:
    engine = load()
    for seed in range(3):
        for width in widths:
            assert_same(engine.infer(*batch_of(width, seed)), expected(*batch_of(width, seed)))
    assert len(contexts()) == len(WIDTHS)
    memories = {context.memory for context in contexts()}
    (memory,) = memories
    assert memory is not None
    assert memory[1] == memory_size((1, 3, 64, max(WIDTHS)))
    outgrown = {each for context in contexts() for each in context.memories} - memories
    assert not any(fake_cuda.in_memory(*each) for each in outgrown), "memory that is too small is given back"


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_each_slot_has_a_memory_of_its_own(load_torch: Load, expected: Infer, cuda_graph: bool) -> None:
    engine = load_torch(slots=2, cuda_graph=cuda_graph)
    for seed in range(3):
        for widths in ((64, 96), (96, 64)):
            uploaded = [engine.upload(*batch_of(width, seed)) for width in widths]
            for slot, width in zip(uploaded, widths, strict=True):
                assert_same(engine.download(engine.run(slot)), expected(*batch_of(width, seed)))
    assert len(contexts()) == 4
    assert len({context.memory for context in contexts()}) == 2


def test_a_shape_is_recorded_when_it_is_seen_again(load_torch: Load, expected: Infer) -> None:
    engine = load_torch()
    recorded: list[int] = []
    for width in (96, 64, 64, 64, 96, 96):
        assert_same(engine.infer(*batch_of(width, len(recorded))), expected(*batch_of(width, len(recorded))))
        recorded.append(FakeGraph.made)
    assert recorded == [0, 0, 1, 1, 2, 2]
    assert [context.calls for context in contexts()] == [2, 2], "once by itself, once to be recorded"
    assert [context.executions for context in contexts()] == [3, 3]


def test_shapes_that_are_seen_once_are_not_recorded(load_torch: Load) -> None:
    engine = load_torch()
    for width in range(32, 32 * (CACHED_SHAPES + 4), 32):
        engine.infer(*batch_of(width))
    assert FakeGraph.made == 0


def test_where_the_memory_grows_recordings_are_made_anew(load_torch: Load, expected: Infer) -> None:
    engine = load_torch()
    recorded: list[int] = []
    for width in (64, 64, 64, 128, 64, 64, 64, 96, 64):
        assert_same(engine.infer(*batch_of(width, len(recorded))), expected(*batch_of(width, len(recorded))))
        recorded.append(FakeGraph.made)
    assert recorded == [0, 1, 1, 1, 1, 2, 2, 2, 2], "the first run in another memory is no recording"


def test_a_recording_of_memory_that_was_given_back_would_be_noticed(load_torch: Load) -> None:
    """What the tests above rely on: the stand-in knows that the recording is bound to the smaller memory."""
    engine = load_torch()
    for _ in range(2):
        engine.infer(*batch_of(64))
    lent = engine.upload(*batch_of(64))
    graph = lent.slot.current.graph
    engine.download(engine.run(lent))
    engine.infer(*batch_of(128))
    with pytest.raises(AssertionError, match="in memory that was freed"):
        graph.replay()


def test_goes_on_where_the_memory_cannot_grow(load: Load, expected: Infer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    for seed in range(2):
        assert_same(engine.infer(*batch_of(64, seed)), expected(*batch_of(64, seed)))
    lent = engine.upload(*batch_of(64))
    engine.download(engine.run(lent))
    shapes = lent.slot.shapes

    def refuse(size: int) -> None:
        raise RuntimeError(f"CUDA out of memory: {size}")

    with monkeypatch.context() as refusing:
        refusing.setattr(shapes, "_allocate", refuse)
        with pytest.raises(
            UserError, match=r"toy\.engine: no 24589 bytes of memory to compute images \[1, 3, 64, 128\] in: CUDA out"
        ):
            engine.infer(*batch_of(128))
    for width in (64, 128, 64):
        assert_same(engine.infer(*batch_of(width, 7)), expected(*batch_of(width, 7)))


def test_the_smaller_memory_is_given_back_before_a_larger_one_is_taken(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be no room for both."""
    engine = load()
    engine.infer(*batch_of(64))
    (context,) = contexts()
    smaller, make = context.memory, fake_cuda.device_memory
    assert smaller is not None

    def taken(size: int) -> np.ndarray:
        if size == memory_size((1, 3, 64, 128)):
            assert not fake_cuda.in_memory(*smaller)
        sizes.append(size)
        return make(size)

    sizes: list[int] = []
    monkeypatch.setattr(fake_cuda, "device_memory", taken)
    engine.infer(*batch_of(128))
    assert memory_size((1, 3, 64, 128)) in sizes


def test_addresses_are_set_once_for_each_shape(load: Load) -> None:
    engine = load()
    for _ in range(3):
        for width in (64, 96):
            engine.infer(*batch_of(width))
    assert [context.addresses_set for context in contexts()] == [len(INPUTS) + len(OUTPUTS)] * 2


def test_a_batch_is_waited_for_once_in_each_phase(load: Load, expected: Infer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every phase is complete when it returns, and nothing is read before: the stand-in's copies need the wait."""
    engine, waits = load(), []
    engine.infer(*batch_of(64))
    synchronize = FakeStream.synchronize

    def counted(stream: FakeStream) -> None:
        waits.append(len(stream.pending))
        synchronize(stream)

    images, image_sizes = batch_of(64, 1)
    uploaded = engine.upload(images, image_sizes)
    images[...] = 0
    outputs = engine.run(uploaded)
    monkeypatch.setattr(FakeStream, "synchronize", counted)
    found = engine.download(outputs)
    monkeypatch.setattr(FakeStream, "synchronize", synchronize)
    assert len(OUTPUTS) - 1 <= max(waits) <= len(OUTPUTS), "one wait for all copies"
    assert_same(found, expected(*batch_of(64, 1)))


def test_a_copy_that_nobody_waited_for_would_be_noticed(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    expected = engine.infer(*batch_of(64))
    outputs = engine.run(engine.upload(*batch_of(64)))
    with monkeypatch.context() as hasty:
        hasty.setattr(FakeStream, "synchronize", lambda stream: None)
        found = engine.download(outputs)
    assert not np.array_equal(found.masks, expected.masks)


@pytest.mark.parametrize(("capturable", "graphs"), [(True, 1), (False, 0)])
def test_tensorrt_rtx_compiles_a_shapes_kernels_before_they_are_recorded(
    load_torch: Load, expected: Infer, monkeypatch: pytest.MonkeyPatch, capturable: bool, graphs: int
) -> None:
    specialization = SimpleNamespace(LAZY="lazy", EAGER="eager")
    monkeypatch.setattr(
        sys.modules["tensorrt"], "DynamicShapesKernelSpecializationStrategy", specialization, raising=False
    )
    monkeypatch.setattr(FakeEngine, "capturable", capturable)
    engine = load_torch()
    for seed in range(3):
        assert_same(engine.infer(*batch_of(64, seed)), expected(*batch_of(64, seed)))
    (config,) = FakeEngine.opened[0].configs
    assert isinstance(config, FakeRuntimeConfig)
    assert config.strategy == fake_tensorrt.USER_MANAGED
    assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
    assert FakeGraph.made == graphs


@pytest.mark.tensorrt
@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_lean", "tensorrt_rtx"])
def test_the_real_bindings_have_what_the_runners_call(flavour: str) -> None:
    trt = pytest.importorskip(flavour)
    assert {"STATIC", "USER_MANAGED"} <= {*trt.ExecutionContextAllocationStrategy.__members__}
    called = {name for name in vars(FakeContext) if name.startswith(("set_", "update_", "execute_", "get_"))}
    assert called <= {*dir(trt.IExecutionContext)}
    parameters = trt.IExecutionContext.set_device_memory.__doc__
    assert parameters.index("memory:") < parameters.index("size:")
    assert "create_execution_context" in dir(trt.ICudaEngine)
    if flavour == "tensorrt_rtx":
        assert "is_stream_capturable" in dir(trt.IExecutionContext)
        assert "REQUIRE_USER_ALLOCATION" in trt.BuilderFlag.__members__
        assert "EAGER" in trt.DynamicShapesKernelSpecializationStrategy.__members__
        config = {name for name in vars(FakeRuntimeConfig) if not name.startswith("_")} - {"strategy"}
        assert config <= {*dir(trt.IRuntimeConfig)}
    else:
        assert not hasattr(trt, "DynamicShapesKernelSpecializationStrategy")
