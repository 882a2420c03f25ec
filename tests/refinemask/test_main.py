"""All commands behind one name."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from refinemask import __version__
from refinemask.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_its_help_by_its_own_name(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["refinemask", command, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert f"usage: refinemask {command} " in capsys.readouterr().out


def test_the_arguments_reach_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["refinemask", "check", "missing.onnx"])
    assert main() == 2
    assert "missing.onnx" in capsys.readouterr().err


def test_nobody_needs_to_read_the_whole_list() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "refinemask"], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_what_is_no_command_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["refinemask", "fly"])
    assert main() == 2
    assert capsys.readouterr().err.startswith("error: 'fly' is no command; expected convert, inspect, train")


def test_the_nearest_command_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["refinemask", "evalute"])
    assert main() == 2
    assert capsys.readouterr().err.startswith("error: 'evalute' is no command (did you mean 'evaluate'?); expected ")


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["refinemask", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"refinemask {__version__}\n"


def test_the_list_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["refinemask"])
    assert main() == 0
    text = capsys.readouterr().out
    for command, (module, _) in COMMANDS.items():
        assert command in text
        assert callable(import_module(module).main)
