"""The page on the commands is what the commands say, on every machine."""

import argparse
from importlib import import_module

import pytest
import torch

from refinemask.__main__ import COMMANDS
from scripts import command_reference
from scripts.command_reference import (
    NO_COMMANDS,
    PAGE,
    REMEDY,
    Command,
    read_command,
    read_commands,
    render,
    runnable_modules,
    undocumented,
)


@pytest.fixture(scope="module")
def commands() -> list[Command]:
    short, others = read_commands()
    return [*short, *others]


def parser_with(*options: argparse.Action) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    for option in options:
        parser._add_action(option)
    return parser


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == render(), f"the page is out of date: {REMEDY}"


def test_the_page_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert render() == page
    assert str(command_reference.ROOT) not in page


def test_every_option_is_documented(commands: list[Command]) -> None:
    assert not undocumented(commands)


def test_every_module_that_can_be_run_is_a_command_or_says_why_not(commands: list[Command]) -> None:
    runnable = {module.removesuffix(".__main__") for module in runnable_modules() if module not in NO_COMMANDS}
    assert {command.module for command in commands} == runnable
    assert set(NO_COMMANDS) <= set(runnable_modules())


def test_every_short_command_is_on_the_page(commands: list[Command]) -> None:
    assert {f"refinemask {name}" for name in COMMANDS} <= {command.name for command in commands}


def test_an_option_without_help_text_is_named() -> None:
    bare = argparse.Action(["--bare"], "bare", help="(default: 1)")
    told = argparse.Action(["--told"], "told", help="What it is. (default: 1)")
    command = Command("refinemask x", "x", (), "", parser_with(bare, told))
    assert undocumented([command]) == ["refinemask x: --bare has no help text; write a docstring below its field"]


def test_a_page_out_of_date_is_refused_with_the_command_that_writes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_reference, "render", lambda: "another page")
    assert command_reference.main(["--check"]) == 1
    assert REMEDY in capsys.readouterr().err


def test_a_module_that_parses_nothing_is_refused() -> None:
    assert import_module("benchmarks.gpu_suite.accuracy").main([]) == 2
    with pytest.raises(command_reference.UserError, match="parses no command line"):
        read_command("benchmarks.gpu_suite.accuracy")
