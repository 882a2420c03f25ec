"""How a pass ends: refused threads, its caller's interrupts, the interpreter's exit, forks, the garbage collector."""

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from types import FrameType
from typing import Any

import pytest

from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.progress import with_progress
from refinemask.streaming.stream import stream
from refinemask.tiling import Tiling
from tests.support.bright_box import BrightBox
from tests.support.coloured_objects import ColouredObjects
from tests.support.stream_items import MadeItem
from tests.support.watched import assert_no_thread_is_left, own_threads, watch

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's forks and timers")


def endless() -> Iterator[MadeItem]:
    number = 0
    while True:
        number += 1
        yield MadeItem(number % 255 + 1)


@pytest.mark.parametrize("refused", ["supervisor", "source", "batches", "decode", "compute"])
def test_a_thread_that_the_system_refuses_ends_the_pass(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start: Any = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(f"refinemask-{refused}"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        watch(lambda: list(stream(BrightBox(), endless()).results()))
    assert not own_threads()


def test_no_thread_at_all_ends_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("refinemask.streaming.pipeline.start_new_thread", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        watch(lambda: list(stream(BrightBox(), endless()).results()))


def test_a_predictor_that_forgets_an_image_is_an_error() -> None:
    class Forgetful(BrightBox):
        def detect(self, *args: Any, **phases: Any) -> list[Any]:
            return super().detect(*args, **phases)[:-1]

    with pytest.raises(ValueError, match="shorter"):
        watch(lambda: list(stream(Forgetful(), [MadeItem(1)]).results()))


def test_an_error_in_a_tile_of_an_image_that_has_failed_is_not_lost() -> None:
    begun, failed = threading.Event(), threading.Event()
    calls = iter(["refuses", "fails"])

    class Failing(ColouredObjects):
        def detect(self, *args: Any, **phases: Any) -> list[Any]:
            if next(calls) == "refuses":
                assert begun.wait(10)
                raise UserError("no")
            begun.set()
            assert failed.wait(10)
            raise RuntimeError("of a library")

    results = stream(Failing(40), [MadeItem(1, 40, 70)], StreamOptions(tiling=Tiling(40, 10), workers=2)).results()
    assert str(next(results).error) == "no"
    failed.set()
    with pytest.raises(RuntimeError, match="of a library"):
        watch(lambda: next(results))


def test_a_source_that_cannot_be_closed_is_an_error_after_its_results() -> None:
    class Unclosed:
        def __iter__(self) -> Iterator[MadeItem]:
            return iter([MadeItem(1), MadeItem(2)])

        def close(self) -> None:
            raise OSError("stuck")

    results = stream(BrightBox(), Unclosed()).results()
    assert [next(results).item.name, next(results).item.name] == ["made 1", "made 2"]
    with pytest.raises(OSError, match="stuck"):
        next(results)
    assert not own_threads()


def test_an_iterator_that_cannot_be_closed_is_an_error_after_its_results() -> None:
    class Unclosed:
        def __iter__(self) -> "Unclosed":
            return self

        def __next__(self) -> MadeItem:
            raise StopIteration

        def close(self) -> None:
            raise OSError("stuck")

    with pytest.raises(OSError, match="stuck"):
        list(stream(BrightBox(), Unclosed()).results())
    assert not own_threads()


def test_what_is_no_image_is_an_error_and_not_the_end() -> None:
    items: Any = [MadeItem(1), None, MadeItem(3)]
    with pytest.raises(AttributeError):
        list(stream(BrightBox(), items).results())
    with pytest.raises(TypeError):
        list(stream(BrightBox(), 5).results())  # type: ignore[call-overload]


def test_an_image_that_the_predictor_does_not_take_fails_alone() -> None:
    class Small(BrightBox):
        def canvas(self, image_shapes: Any) -> Any:
            if max(image_shapes) > (20, 30):
                raise InputError("is too large")
            return super().canvas(image_shapes)

    items = [MadeItem(1), MadeItem(2, 21), MadeItem(3)]
    _, failed, last = list(stream(Small(), items).results())
    assert str(failed.error) == "made 2: is too large"
    assert failed.was_read, "it is not about the image alone"
    assert last.prediction is not None


def test_a_pipeline_is_one_pass() -> None:
    pipeline = stream(BrightBox(), [MadeItem(1), MadeItem(2)])
    first = pipeline.results()
    next(first)
    with pytest.raises(RuntimeError, match="one pass"):
        next(pipeline.results())
    assert next(first).item.name == "made 2"
    first.close()
    with pytest.raises(RuntimeError, match="one pass"):
        next(pipeline.results())


def test_without_iteration_nothing_happens() -> None:
    def source() -> Iterator[MadeItem]:
        raise AssertionError
        yield

    stream(BrightBox(), source()).results().close()
    assert not own_threads()


def test_a_pipeline_runs_inside_another() -> None:
    def render(item: Any, prediction: Any, pixels: Any) -> list[str]:
        return [result.item.name for result in stream(BrightBox(), [MadeItem(1), MadeItem(2)]).results()]

    items = [MadeItem(number) for number in range(12)]

    def consume() -> None:
        results = list(stream(BrightBox(), items, StreamOptions(batch_size=2, workers=2), render=render).results())
        assert [result.rendered for result in results] == [["made 1", "made 2"]] * 12

    watch(consume)
    assert not own_threads()


def test_another_thread_may_go_on_with_an_iteration_and_end_it() -> None:
    results = stream(BrightBox(), endless(), StreamOptions(workers=2)).results()
    assert next(results).item.name == "made 2"
    watch(lambda: [next(results) for _ in range(30)])
    watch(results.close)
    assert not own_threads()


def test_the_garbage_collector_may_end_an_iteration_in_a_thread_of_it() -> None:
    dropped = threading.Event()

    def collect() -> None:
        assert dropped.wait(10)
        gc.collect()

    class Holder:
        def __init__(self, results: Any) -> None:
            self.me, self.results = self, results

    # The second image is read when nobody but the collector knows of the iteration any more.
    items = [MadeItem(1), MadeItem(2, happens=collect), *(MadeItem(3) for _ in range(50))]
    holder = Holder(stream(BrightBox(), iter(items), StreamOptions(workers=1)).results())
    gc.disable()
    try:
        next(holder.results)
        del holder
        dropped.set()
        assert_no_thread_is_left()
    finally:
        gc.enable()


@needs_posix
def test_a_fork_leaves_the_threads_to_its_parent() -> None:
    results = stream(BrightBox(), endless(), StreamOptions(workers=2)).results()
    next(results)
    child = os.fork()
    if child == 0:
        results.close()
        os._exit(7)
    watch(lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7 or pytest.fail("the child hangs"))
    next(results)
    results.close()
    assert not own_threads()


SUSPENDED = """
import time
import refinemask.streaming.pipeline
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.stream import stream
from tests.support.bright_box import BrightBox
from tests.support.stream_items import MadeItem

class Slow(BrightBox):
    def detect(self, *args, **phases):
        time.sleep(0.1)
        return super().detect(*args, **phases)

# Less than the images of a window need: some wait for memory when the interpreter ends.
refinemask.streaming.pipeline.MOST_BYTES = 3 * 20 * 30 * 3
items = (MadeItem(number % 255 + 1) for number in range(10**6))
results = stream(Slow(), items, StreamOptions(batch_size=3, workers=4)).results()
next(results)
raise SystemExit(3)
"""


def test_the_interpreter_ends_while_an_iteration_is_suspended() -> None:
    done = subprocess.run([sys.executable, "-c", SUSPENDED], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (3, "")


class Interrupt(BaseException):
    """What a signal raises in the main thread, as Ctrl-C does."""


def interrupted_passes(seed: int, count: int) -> int:
    """Passes that are interrupted at random moments, once or twice, from their start to their end; how many met one."""
    dice, met, times = random.Random(seed), 0, 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        if times == 2:
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise Interrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    # An interrupt in a finalizer cannot be raised; one in pytest's hook for such errors would fail the test.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        for _ in range(count):
            second = dice.choice([0, 0.0005, 0.002])
            times = 0
            items = (MadeItem(number + 1, delay=0.0005) for number in range(20))
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0001, 0.02), second)
                    for _ in stream(BrightBox(), items, StreamOptions(batch_size=2, workers=2)).results():
                        pass
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                met += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert_no_thread_is_left()
    finally:
        signal.signal(signal.SIGALRM, previous)
        sys.unraisablehook = hook
    return met


@needs_posix
def test_interrupts_at_any_moment_leave_no_thread() -> None:
    assert interrupted_passes(0, 40) > 10


@needs_posix
@pytest.mark.slow
def test_many_interrupts_at_any_moment_leave_no_thread() -> None:
    assert interrupted_passes(1, 3000) > 1000


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), CancelledError(), RuntimeError()])
def test_an_error_of_the_caller_ends_all_threads(error: BaseException) -> None:
    def consume(results: Iterator[Any]) -> None:
        next(results)
        raise error

    progress = with_progress(stream(BrightBox(), endless()), None, found=lambda: 3)
    with pytest.raises(type(error)):
        consume(progress)
    progress.close()
    assert_no_thread_is_left()


def test_a_slow_caller_gets_everything(capsys: pytest.CaptureFixture[str]) -> None:
    pause: Callable[[], None] = lambda: time.sleep(0.001)  # noqa: E731
    items = [MadeItem(number) for number in range(30)]
    for result, item in zip(with_progress(stream(BrightBox(), items), 30), items, strict=True):
        pause()
        assert result.item is item
    assert capsys.readouterr().err == ""
