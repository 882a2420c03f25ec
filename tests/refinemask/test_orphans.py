"""Children that end with a parent that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import is_alive, needs_proc, wait_until

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import os, signal, sys, time
from refinemask import orphans
if sys.argv[1] == "portable":
    orphans._kernel_tells = lambda number: False
    orphans.SECONDS_BETWEEN_LOOKS = 0.1
orphans.end_with_parent(int(sys.argv[2]), signal.Signals(int(sys.argv[3])))
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
child = [sys.executable, "-c", sys.argv[1], sys.argv[2], str(os.getpid()), sys.argv[3]]
subprocess.Popen(child)
time.sleep(600)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@needs_proc
@pytest.mark.parametrize("way", ["kernel", "portable"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_gets_its_signal_when_its_parent_is_killed(way: str, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, way, str(int(number))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    assert wait_until(lambda: not is_alive(child))


@pytest.mark.parametrize("way", ["kernel", "portable"])
def test_a_parent_that_has_ended_already_is_noticed(way: str) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    command = [sys.executable, "-c", CHILD, way, str(ended.pid), str(int(signal.SIGTERM))]
    assert subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL).returncode == -signal.SIGTERM
