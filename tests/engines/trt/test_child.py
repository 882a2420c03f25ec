"""The child process that builds an engine, and its parent's end."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.processes import is_alive, needs_proc, wait_until

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import os, time
from engines.trt import child

def build(*_):
    print(os.getpid(), flush=True)
    time.sleep(600)

child.TASKS["build"] = build
child.os.dup2(1, 2)
raise SystemExit(child.main())
"""
PARENT = """
import json, os, subprocess, sys, time
request = json.dumps({"task": "build", "request": {}, "parent": os.getpid()})
subprocess.Popen([sys.executable, "-c", sys.argv[1], request])
time.sleep(600)
"""


@needs_proc
def test_a_build_ends_with_a_parent_that_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, CHILD]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    assert wait_until(lambda: not is_alive(child))
