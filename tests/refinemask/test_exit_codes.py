"""Ctrl-C while a command imports what it needs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SWALLOWS = """
import time
print("importing", flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass  # As an import in C may.
"""


@pytest.mark.parametrize("command", [["-m", "refinemask.train"], ["-m", "refinemask", "train"]])
def test_ctrl_c_is_one_line_whatever_an_import_makes_of_it(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "torch.py").write_text(SWALLOWS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *command], **pipes, text=True, env=environment, cwd=tmp_path) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "interrupted\n")
    assert process.returncode == 130


def test_a_process_that_ignores_ctrl_c_still_does(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nraise SystemExit(7)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    # As a shell without job control starts what runs in the background.
    command = [sys.executable, "-m", "refinemask.train"]
    ignoring = f"import os, signal; signal.signal(2, signal.SIG_IGN); os.execv({sys.executable!r}, {command!r})"
    assert subprocess.run([sys.executable, "-c", ignoring], env=environment, cwd=tmp_path).returncode == 7
