"""A training as processes: whatever ends the trainer ends its loaders, with the exit code that says what it was."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refinemask.locks import locked
from refinemask.recipes import RECIPES
from refinemask.train import Args, main
from tests.support import tiny_training
from tests.support.processes import needs_proc, session, wait_until

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    return tiny_training.draw_dataset(tmp_path / "data")


@pytest.fixture
def start(data_root: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a training with two loader processes as a session of its own, and wait for its first iteration."""
    processes = []

    def begin(*options: str, program: str = "") -> "subprocess.Popen[str]":
        command = [sys.executable, *(["-c", program] if program else [tiny_training.__file__])]
        command += ["--recipe", "tiny", "--data-root", str(data_root), "--output", str(tmp_path / "run")]
        command += ["--device", "cpu", "--workers", "2", "--epochs", "1000", "--log-every", "1", *options]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
        run = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        processes.append(run)
        metrics = tmp_path / "run" / "metrics.jsonl"
        wait_until(lambda: run.poll() is not None or (metrics.is_file() and bool(metrics.read_text())), 120)
        return run

    yield begin
    for process in processes:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


FAILS = """
from refinemask.training.loop import Trainer
from tests.support import tiny_training
from tests.support.processes import needs_proc, session, wait_until

def fail(self):
    raise MemoryError("of a GPU")

Trainer._update = fail
tiny_training.RECIPES["tiny"] = tiny_training.RECIPE
raise SystemExit(tiny_training.main())
"""


@needs_proc
def test_a_training_that_fails_ends_with_its_traceback_and_code_1(start: Start) -> None:
    run = start(program=FAILS)
    assert run.communicate(timeout=120)[1].splitlines()[-1] == "MemoryError: of a GPU"
    assert run.returncode == 1
    assert session(run.pid) == []


@needs_proc
def test_ctrl_c_in_a_terminal_saves_the_state_and_ends_the_loader_processes(start: Start, tmp_path: Path) -> None:
    run = start()
    # A terminal sends the signal to a whole group of processes, which is the session's own here.
    os.killpg(run.pid, signal.SIGINT)
    assert "Ctrl-C once more stops at once" in run.communicate(timeout=120)[1]
    assert run.returncode == 130
    assert session(run.pid) == []
    assert (tmp_path / "run" / "state.pt").is_file()


@needs_proc
def test_a_trainer_that_is_killed_takes_its_loaders_along_and_gives_its_directory_free(
    start: Start,
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = start()
    monkeypatch.setitem(RECIPES, "tiny", tiny_training.RECIPE)
    assert main(Args(recipe="tiny", data_root=data_root, output=tmp_path / "run", device="cpu", resume="auto")) == 2
    expected = f"error: {tmp_path / 'run'}: another process trains there; wait for its end, or give another --output"
    assert capsys.readouterr().err.splitlines()[-1] == expected
    loaders = [pid for pid in session(run.pid) if pid != run.pid]
    assert len(loaders) == 2
    run.kill()
    run.wait()
    assert wait_until(lambda: not session(run.pid))
    with locked(tmp_path / "run" / ".lock") as free:
        assert free
