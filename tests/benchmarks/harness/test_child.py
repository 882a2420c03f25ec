"""A call in a process of its own: what it answers, raises, and what becomes of one that takes too long."""

import os
import pickle
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.child import Child, call_in_child, start_in_child
from refinemask.agreement import PARITY, Comparison, MismatchError
from refinemask.contract import parse_size
from refinemask.files import UserError
from tests.support.processes import is_alive, needs_proc, wait_until

ROOT = Path(__file__).resolve().parents[3]


def test_answers_from_another_process() -> None:
    assert call_in_child(None, os.getppid) == os.getpid()
    assert call_in_child(None, os.getpid) != os.getpid()


def test_raises_what_the_function_raises() -> None:
    with pytest.raises(UserError, match="size 'large': expected"):
        call_in_child(60, parse_size, text="large")


def test_a_mismatch_keeps_its_comparisons_between_processes() -> None:
    nothing = np.zeros(0, np.float32)
    error = MismatchError("differs", [Comparison((1, 32, 32), 2, nothing, nothing, nothing)], PARITY["fp32"])
    found = pickle.loads(pickle.dumps(error))
    assert (str(found), found.parity) == ("differs", error.parity)
    assert [comparison.unmatched for comparison in found.comparisons] == [2]


def test_a_process_that_ends_early_is_an_error_of_one_line() -> None:
    with pytest.raises(UserError, match=r"^the process of _exit was ended, usually by lack of memory$"):
        call_in_child(None, os._exit, 3)


class UnpicklableError(Exception):
    """An error that only its own process can make."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def break_down() -> None:
    raise UnpicklableError("a compiler's", "error")


def test_an_error_that_cannot_travel_is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"^UnpicklableError: a compiler's error$") as caught:
        call_in_child(60, break_down)
    assert "break_down" in str(caught.value.__cause__)


def test_a_call_goes_on_while_the_caller_does_something_else() -> None:
    child = start_in_child(time.sleep, 0.5)
    assert child.seconds < 60
    assert child.result() is None
    seconds = child.seconds
    assert seconds >= 0.5
    assert child.result() is None
    assert child.seconds == seconds


def test_a_process_can_stand_back() -> None:
    assert Child(partial(os.nice, 0), "nice", niceness=3).result() == os.nice(0) + 3


def test_a_call_can_be_ended() -> None:
    child = start_in_child(time.sleep, 600)
    child.end()
    with pytest.raises(TimeoutError):
        child.result()
    done = start_in_child(os.getpid)
    assert done.result() != os.getpid()
    done.end()


@needs_proc
def test_a_call_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    with pytest.raises(TimeoutError):
        call_in_child(5, subprocess.run, ["sh", "-c", f"sleep 600 & echo $$ $! > {file}; wait"])
    pids = [int(pid) for pid in file.read_text().split()]
    assert len(pids) == 2
    assert wait_until(lambda: not any(map(is_alive, pids)))


PARENT = """
import time
from benchmarks.harness.child import Child, start_in_child

if __name__ == "__main__":
    child = start_in_child(time.sleep, 600)
    print(child._pid.result(), flush=True)
    time.sleep(600)
"""


@needs_proc
def test_a_call_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    assert wait_until(lambda: not is_alive(pid))
