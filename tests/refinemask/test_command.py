"""How commands end."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from refinemask.command import execute
from refinemask.files import FailedCheckError, UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys, time
from dataclasses import dataclass
from refinemask.command import execute

@dataclass
class Args:
    what: str

def act(args):
    if args.what == "wait":
        try:
            print("waiting", flush=True)
            time.sleep(60)
        finally:
            print("undone")
    for _ in range(100_000):
        print("line")

sys.exit(execute(Args, act))
"""


@dataclass(frozen=True)
class Args:
    """Arguments that refuse a number below one."""

    number: int = 1

    def __post_init__(self) -> None:
        if self.number < 1:
            raise UserError(f"--number is {self.number}; expected at least 1")


def test_a_missing_package_is_named_with_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(args: Args) -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(sys, "argv", ["refinemask convert", "x.pth"])
    assert execute(Args, act, Args()) == 2
    line = "error: refinemask convert needs torch, which is not installed; pip install 'refinemask[train]'\n"
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("error", "code"), [(UserError("a.png: no such file"), 2), (FailedCheckError("boxes differ"), 1)]
)
def test_an_error_is_one_line_and_a_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def act(args: Args) -> None:
        raise error

    assert execute(Args, act, Args()) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_a_command_whose_package_is_missing_names_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(args: Args) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(sys, "argv", ["refinemask convert", "a.pth"])
    assert execute(Args, act, Args()) == 2
    missing = "needs torch, which is not installed; pip install 'refinemask[train]'"
    assert capsys.readouterr().err == f"error: refinemask convert {missing}\n"


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (143, 143)])
def test_the_result_of_the_action_is_the_code(result: int | None, code: int) -> None:
    assert execute(Args, lambda args: result, Args()) == code


def test_the_command_line_is_read_and_what_the_arguments_refuse_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", "--number", "3"])
    assert execute(Args, lambda args: args.number) == 3
    monkeypatch.setattr(sys, "argv", ["command", "--number", "0"])
    assert execute(Args, lambda args: args.number) == 2
    assert capsys.readouterr().err == "error: --number is 0; expected at least 1\n"


def test_an_error_of_ours_stays_a_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        execute(Args, lambda args: 1 // 0, Args())


def start(what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, "--what", what]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    ("number", "line", "code"), [(signal.SIGINT, "interrupted\n", 130), (signal.SIGTERM, "terminated\n", 143)]
)
def test_a_signal_is_one_line_and_a_code_and_what_was_begun_is_undone(
    number: signal.Signals, line: str, code: int
) -> None:
    with start("wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("undone\n", line)
    assert process.returncode == code


def test_a_command_leaves_the_signal_as_it_was_and_runs_in_any_thread() -> None:
    before = signal.getsignal(signal.SIGTERM)
    during = []
    assert execute(Args, lambda args: during.append(signal.getsignal(signal.SIGTERM)), Args()) == 0
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(execute, Args, lambda args: 3, Args()).result() == 3
    assert during != [before]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_reader_that_goes_away_is_no_error() -> None:
    with start("print") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
