"""Slots are never lost, whatever fails and wherever Ctrl-C arrives."""

import dis
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from engines import base, slots
from engines.slots import Slot, SlottedEngine
from refinemask.config import ModelConfig
from refinemask.contract import Bounds
from refinemask.structures import Detections, ImageDetections
from tests.support.runner_batches import batch_of
from tests.support.threads import detect, finish

CONFIG = ModelConfig(class_names=("nucleus",), category_ids=(1,))
BOUNDS = Bounds(batch=(1, 4, 8), height=(32, 64, 128), width=(32, 64, 256))
BATCH = batch_of(64)
SLOTS = 2
HANDLE_SIGNALS = ("RESUME", "CALL", "JUMP_BACKWARD")
"""Instructions at which Python handles signals."""


class HostSlot:
    """A slot that finds nothing, and fails in the phases that it is told."""

    def __init__(self, faults: dict[str, BaseException]) -> None:
        self._faults = faults

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        self._fail("upload")
        self._count = len(images)

    def run(self) -> None:
        self._fail("run")

    def download(self) -> Detections:
        self._fail("download")
        shapes = {"boxes": (3, 4), "scores": (3,), "masks": (3, 4, 4)}
        found: dict[str, Any] = {name: np.zeros((self._count, *shape), np.float32) for name, shape in shapes.items()}
        labels, counts = np.zeros((self._count, 3), np.int64), np.zeros(self._count, np.int64)
        return Detections(**found, labels=labels, num_detections=counts)

    def _fail(self, phase: str) -> None:
        if phase in self._faults:
            raise self._faults.pop(phase)


class DeviceSlot(HostSlot):
    """One that pastes, too."""

    def encode(self, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]) -> list[ImageDetections]:
        self._fail("encode")
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        return [ImageDetections(*nothing, []) for _ in image_shapes]


@pytest.fixture
def faults() -> dict[str, BaseException]:
    """What the next slot to reach a phase raises there."""
    return {}


@pytest.fixture(params=[HostSlot, DeviceSlot])
def engine(request: pytest.FixtureRequest, faults: dict[str, BaseException]) -> SlottedEngine:
    return engine_of(lambda: request.param(faults))


def engine_of(make_slot: Callable[[], Slot], count: int = SLOTS) -> SlottedEngine:
    return SlottedEngine(make_slot, count, name="toy", config=CONFIG, precision="fp32", device="cuda", bounds=BOUNDS)


def assert_all_free(engine: SlottedEngine) -> None:
    """As many batches as there are slots find one at once, and no more."""
    lent = finish(lambda: [engine.upload(*BATCH) for _ in range(SLOTS)])
    assert len({id(each.slot) for each in lent}) == SLOTS
    assert engine._free.empty()
    for each in lent:
        engine.release(each)


def call(engine: SlottedEngine, method: str) -> object:
    return engine.infer(*BATCH) if method == "infer" else detect(engine, BATCH)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("phase", ["upload", "run", "download", "encode"])
@pytest.mark.parametrize("method", ["infer", "detect"])
def test_an_error_in_any_phase_gives_the_slot_back(
    engine: SlottedEngine,
    faults: dict[str, BaseException],
    method: str,
    phase: str,
    error: type[BaseException],
) -> None:
    # Kept, as a future keeps it, with all frames that it went through.
    kept = []
    for _ in range(SLOTS):
        faults[phase] = error("a fault")
        try:
            call(engine, method)
        except error as raised:
            kept.append(raised)
        reached = phase not in faults
        assert reached == (len(kept) > 0)
        faults.clear()
    assert_all_free(engine)


@pytest.mark.parametrize("named", ["engine", "paste"])
def test_an_error_of_who_measures_gives_the_slot_back(engine: SlottedEngine, named: str) -> None:
    @contextmanager
    def phases(phase: str) -> Iterator[None]:
        yield
        if phase == named:
            raise KeyboardInterrupt

    kept = []
    for _ in range(SLOTS):
        with pytest.raises(KeyboardInterrupt) as raised:
            engine.detect(*BATCH, np.ones((1, 4), np.float32), [(60, 61)], phases=phases)
        kept.append(raised)
    assert_all_free(engine)


# Where the interrupted code is what forgets a slot that was given back before.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("method", ["infer", "detect"])
def test_ctrl_c_at_any_instruction_loses_no_slot(engine: SlottedEngine, method: str) -> None:
    instruction = 0
    while interrupted_at(instruction, lambda: call(engine, method)):
        assert_all_free(engine)
        instruction += 1
    assert instruction > 30, "the instructions of the engine were not seen"
    assert_all_free(engine)


def interrupted_at(instruction: int, work: Callable[[], object]) -> bool:
    """Interrupt the work after an instruction of the engine's own code at which Python handles signals.

    These begin functions, end calls and jump back. Returns whether there are so many of them.
    """
    files = {slots.__file__, base.__file__, sys.modules["contextlib"].__file__}
    left, last = instruction, ""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left, last
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= last.startswith(HANDLE_SIGNALS)
            last = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_batch_that_nobody_downloads_gives_its_slot_back(engine: SlottedEngine) -> None:
    for _ in range(SLOTS + 1):
        finish(lambda: engine.run(engine.upload(*BATCH)).slot)
    gc.collect()
    assert_all_free(engine)


def test_a_slot_is_given_back_once(engine: SlottedEngine) -> None:
    outputs = engine.run(engine.upload(*BATCH))
    engine.download(outputs)
    engine.release(outputs)
    outputs.give_back()
    del outputs
    assert_all_free(engine)


def test_a_slot_that_is_never_needed_is_not_made() -> None:
    made = []

    def make() -> Slot:
        made.append(HostSlot({}))
        return made[-1]

    engine = engine_of(make, 3)
    assert engine.concurrency == 3
    for _ in range(4):
        engine.infer(*BATCH)
    assert len(made) == 1
    both = [engine.upload(*BATCH) for _ in range(2)]
    assert len(made) == 2
    for each in both:
        engine.release(each)
    three = [engine.upload(*BATCH) for _ in range(3)]
    assert len(made) == 3
    for each in three:
        engine.release(each)
    engine.infer(*BATCH)
    assert len(made) == 3


def test_a_slot_that_cannot_be_made_is_an_error_and_the_others_stay() -> None:
    room = [True]

    def make() -> Slot:
        if not room:
            raise MemoryError
        return HostSlot({})

    engine = engine_of(make)
    first = engine.upload(*BATCH)
    room.clear()
    with pytest.raises(MemoryError):
        engine.upload(*BATCH)
    engine.release(first)
    with suppress(MemoryError):
        engine.infer(*BATCH)
    room.append(True)
    assert_all_free(engine)


def test_a_batch_is_as_large_as_the_file_is_tuned_for_on_a_gpu_and_small_on_a_cpu(tmp_path: Path) -> None:
    engine = engine_of(lambda: HostSlot({}))
    assert (engine.preferred_batch, engine.smallest_batch) == (4, 1)
    engine.device = "cpu"
    assert engine.preferred_batch == 1
    engine.bounds = None
    assert engine.preferred_batch == 1
