"""Processes of other programs, as Linux's /proc tells of them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def _status(pid: int) -> list[str]:
    """The fields of a process's status after its name: state, parent, group, session …; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process runs or waits; one that has ended and is not yet waited for does not."""
    status = _status(pid)
    return bool(status) and status[0] not in "ZX"


def session(leader: int) -> list[int]:
    """The living processes of a session: all that its leader started, and what they started."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _status(pid)[3:4] == [str(leader)] and is_alive(pid)]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until a condition holds, and say whether it came to hold."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds
