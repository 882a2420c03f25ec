"""Work that may hang, watched: a test of it fails with the stacks of all threads."""

import faulthandler
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.processes import wait_until


def own_threads() -> list[str]:
    """The names of RefineMask's threads that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("refinemask")]


def watch(work: Callable[[], object], seconds: float = 30) -> None:
    """Do the work in another thread, and raise what it raises; the test fails if it takes longer."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        pytest.fail(f"hangs after {seconds} seconds\n{_stacks()}")
    if raised:
        raise raised[0]


def assert_no_thread_is_left(seconds: float = 10) -> None:
    """Fail with all stacks if a thread of RefineMask does not end."""
    if not wait_until(lambda: not own_threads(), seconds):
        pytest.fail(f"threads are left: {own_threads()}\n{_stacks()}")


def _stacks() -> str:
    with TemporaryDirectory() as directory, open(Path(directory) / "stacks", "w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()
