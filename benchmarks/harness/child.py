"""One call in a process of its own."""

import os
import pickle
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as OverdueError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from typing import Generic, ParamSpec, TypeVar

from refinemask.files import UserError
from refinemask.orphans import end_with_parent

Options = ParamSpec("Options")
Answer = TypeVar("Answer")


class Child(Generic[Answer]):
    """A call that runs in a process of its own, which can use CUDA, while the caller goes on."""

    def __init__(self, function: Callable[[], Answer], name: str, niceness: int = 0) -> None:
        """Start the process.

        Args:
            function: what to call; it and its answer are pickled.
            name: name for errors.
            niceness: how far the process stands back behind others where processors are scarce, 0 to 19.
        """
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_lead, initargs=(os.getpid(), niceness))
        self._pid = self._pool.submit(os.getpid)
        self._call = self._pool.submit(_answer, function)
        self._begun = self._ended = time.monotonic()
        self._call.add_done_callback(self._note_end)
        self._name = name
        self._overdue = False

    @property
    def seconds(self) -> float:
        """Wall-clock time of the process until now or its end, its start included."""
        return (self._ended if self._call.done() else time.monotonic()) - self._begun

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer; the process has ended then.

        Args:
            timeout: seconds to wait once the process has started; None is as long as it takes.

        Raises:
            TimeoutError: the time was over; the process was ended, and those that it had started.
            UserError: the process ended before it answered, or the function raises one.
            Exception: what the function raises.
        """
        try:
            # The start of the process is not the call's time.
            self._pid.result()
            return self._call.result(timeout)
        except BrokenProcessPool as error:
            if self._overdue:
                raise TimeoutError from error
            raise UserError(f"the process of {self._name} was ended, usually by lack of memory") from error
        except (OverdueError, KeyboardInterrupt) as error:
            if self._call.done():
                raise
            self._kill()
            raise error if isinstance(error, KeyboardInterrupt) else TimeoutError from error
        finally:
            self._pool.shutdown()

    def end(self) -> None:
        """End the process, and those that it has started, unless the call is done."""
        if not self._call.done():
            self._kill()
        self._pool.shutdown()

    def _note_end(self, _: object) -> None:
        self._ended = time.monotonic()

    def _kill(self) -> None:
        self._overdue = True
        # A process that has ended by itself needs no end.
        with suppress(BrokenProcessPool, ProcessLookupError):
            os.killpg(self._pid.result(), signal.SIGKILL)


def _lead(parent: int, niceness: int) -> None:
    end_with_parent(parent)
    # In a session of its own, so that it can be ended together with the processes that it starts.
    os.setsid()
    os.nice(niceness)


def _answer(function: Callable[[], Answer]) -> Answer:
    try:
        return function()
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            # It would break the pool on its way to the caller, who would learn nothing of it.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise


def start_in_child(
    function: Callable[Options, Answer], *args: Options.args, **options: Options.kwargs
) -> Child[Answer]:
    """Start a call in a process of its own: its memory is given back when it ends.

    Args:
        function: a function of a module; it, its arguments and its answer are pickled.
        args: the function's arguments.
        options: the function's keyword arguments.
    """
    return Child(partial(function, *args, **options), function.__name__)


def call_in_child(
    timeout: float | None, function: Callable[Options, Answer], *args: Options.args, **options: Options.kwargs
) -> Answer:
    """Call a function as :func:`start_in_child` does, and wait for its answer as :meth:`Child.result` does."""
    return start_in_child(function, *args, **options).result(timeout)
