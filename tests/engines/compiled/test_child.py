"""Compiling and checking in child processes: what they answer, what their end means, and that none is left."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.compiled import child
from engines.compiled.child import check_in_child, compile_in_children
from refinemask.exit_codes import INTERRUPTED
from refinemask.files import UserError
from tests.support.processes import is_alive, needs_proc, session, wait_until

SOURCE = {"checkpoint": "tiny.safetensors", "precision": "fp32", "device": "cpu", "batch": 1}
JOBS = [(part, (64, 96)) for part in ("features", "boxes", "image_maps", "masks")]


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that children run: a shell script, for a test to write."""
    script = tmp_path / "python"
    script.touch()
    script.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(script))
    return script


def check(package: Path, **options: Any) -> Any:
    usual = {"checkpoint": "tiny.safetensors", "output": "out/tiny.pt2", "pictures": None}
    return check_in_child(package, **{**usual, **options})


def test_answers_come_line_by_line(interpreter: Path) -> None:
    interpreter.write_text('#!/bin/sh\necho \'{"result": ["a", ["f"]]}\'\necho \'{"result": ["b", []]}\'\n')
    assert list(compile_in_children(SOURCE, JOBS[:1])) == [["a", ["f"]], ["b", []]]


def test_the_check_looks_at_what_compiled_code_is_given(interpreter: Path) -> None:
    interpreter.write_text('#!/bin/sh\nprintf \'{"error": "%s"}\\n\' "$AOTI_RUNTIME_CHECK_INPUTS"\n')
    with pytest.raises(UserError, match=r"^1$"):
        check(Path("tiny.pt2"))
    with pytest.raises(UserError, match=r"^$"):
        list(compile_in_children(SOURCE, JOBS))


def test_jobs_are_shared_where_there_are_many_cores(interpreter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last argument is the request.
    interpreter.write_text('#!/bin/sh\nfor last; do :; done\nprintf \'{"result": %s}\\n\' "$last"\n')
    for cores, shares in ((1, 1), (8, 2), (400, 4)):
        monkeypatch.setattr(child.os, "sched_getaffinity", lambda pid, cores=cores: range(cores))
        asked: Any = list(compile_in_children(SOURCE, JOBS))
        assert len(asked) == shares
        assert all(request["source"] == SOURCE for request in asked)
        jobs = [(part, tuple(size)) for request in asked for part, size in request["jobs"]]
        assert sorted(jobs) == sorted(JOBS)


def test_what_a_child_refuses_is_refused_here(interpreter: Path) -> None:
    interpreter.write_text('#!/bin/sh\necho \'{"error": "tiny.pt2: no"}\'\n')
    with pytest.raises(UserError, match=r"^tiny\.pt2: no$"):
        list(compile_in_children(SOURCE, JOBS))
    with pytest.raises(UserError, match=r"^tiny\.pt2: no$"):
        check(Path("tiny.pt2"))


def test_a_child_that_fails_is_reported(interpreter: Path) -> None:
    interpreter.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UserError, match=r"^tiny\.safetensors: not written, the compile ended with exit code 3; its"):
        list(compile_in_children(SOURCE, JOBS))
    with pytest.raises(UserError, match=r"^out/tiny\.pt2: not written, the check ended with exit code 3; its last"):
        check(Path("tiny.pt2"))


def test_a_child_that_is_killed_is_reported(interpreter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter.write_text(f"#!/bin/sh\nkill -{int(signal.SIGKILL)} $$\n")
    with pytest.raises(UserError, match=r"the compile ended with signal 9 \(9 is usually lack of memory\)$"):
        list(compile_in_children(SOURCE, JOBS))
    monkeypatch.setenv("CXX", "g++-99")
    with pytest.raises(UserError, match=r"ends its process with signal 9 .*'g\+\+-99': name another C\+\+ compiler"):
        check(Path("tiny.pt2"))


def test_after_an_error_the_other_children_end_too(
    interpreter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child.os, "sched_getaffinity", lambda pid: range(8))
    ended = tmp_path / "ended"
    # One share begins with the features, the other waits for its parent's word.
    interpreter.write_text(
        f'#!/bin/sh\ncase "$*" in *features*) echo \'{{"error": "no"}}\' ;; *) cat > /dev/null; touch {ended} ;; esac\n'
    )
    with pytest.raises(UserError, match=r"^no$"):
        list(compile_in_children(SOURCE, JOBS))
    assert ended.exists()


def test_a_child_that_does_not_end_is_killed_with_what_it_runs(
    interpreter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SECONDS_TO_END", 0.1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The sleeping grandchild holds the pipe open.
    interpreter.write_text(f"#!/bin/sh\nsleep 600 > {fifo} &\nwait\n")
    with child._child("compile", {}) as process:
        end = fifo.open()
    with end:
        assert end.read() == ""
    assert process.returncode == -signal.SIGKILL


def test_a_child_without_a_parent_ends_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with child._child("compile", {"source": SOURCE, "jobs": JOBS}) as process:
        pass
    assert process.returncode == INTERRUPTED
    assert capfd.readouterr().err == ""


PARENT = """
import time
from engines.compiled.child import _child

with _child("compile", {}) as child:
    print(child.pid, flush=True)
    time.sleep(600)
"""


@needs_proc
def test_a_compile_ends_with_a_parent_that_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    assert wait_until(lambda: not session(pid))
