"""Ctrl-C while a command imports what it needs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from refinemask.exit_codes import exit_code
from refinemask.files import UserError

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


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_an_output_of_few_signs_gets_escapes(errors: str) -> None:
    """Python gives the output of the C locale the errors ``surrogateescape``."""
    program = (
        "from refinemask.exit_codes import exit_code; raise SystemExit(exit_code(lambda: print('größe', chr(0xDCFF))))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": f"ascii:{errors}"}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "gr\\xf6\\xdfe \\udcff\n", "")


def test_a_process_that_ignores_ctrl_c_still_does(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nraise SystemExit(7)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    # As a shell without job control starts what runs in the background.
    command = [sys.executable, "-m", "refinemask.train"]
    ignoring = f"import os, signal; signal.signal(2, signal.SIG_IGN); os.execv({sys.executable!r}, {command!r})"
    assert subprocess.run([sys.executable, "-c", ignoring], env=environment, cwd=tmp_path).returncode == 7


def test_an_error_is_one_line_whatever_a_file_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UserError("a\nb\x1b[31m\udcff é.json: no such file")

    assert exit_code(fail) == 2
    assert capsys.readouterr().err == "error: a\\nb\\x1b[31m\\udcff é.json: no such file\n"


CLOSES = """
import os, sys
from refinemask.exit_codes import exit_code

def write() -> None:
    # What the number of a closed file was given to would get this.
    with open("output", "w+b") as file:
        for number in CLOSED:
            os.write(number, b"what a library prints")
        assert file.read() == b""
    print("printed", file=sys.stderr)

raise SystemExit(exit_code(write))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes them")
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_no_output_takes_the_place_of_a_standard_file_that_is_closed(tmp_path: Path, closed: tuple[int, ...]) -> None:
    script = CLOSES.replace("CLOSED", str(closed[-2:] if closed[-1] else ()))
    shell = 'exec "$0" -c "$1" ' + " ".join(f"{number}>&-" for number in closed)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["sh", "-c", shell, sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == ("" if 2 in closed else "printed\n")
