"""Write docs/reference/commands.md from the commands themselves: ``python -m scripts.command_reference``.

With ``--check`` nothing is written: the exit code is 1, and one line says so, where the page is not what the commands
say. Each command is asked for the parser of its own command line, so the page cannot differ from ``--help``.
"""

import argparse
import ast
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any, NoReturn, cast
from unittest import mock

import tyro

from refinemask.__main__ import COMMANDS
from refinemask.exit_codes import exit_code
from refinemask.files import FailedCheckError, UserError, atomic_write

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "commands.md"
REMEDY = "python -m scripts.command_reference"
PACKAGES = ("refinemask", "export", "engines", "trt_plugins", "benchmarks")
NO_COMMANDS = {
    "refinemask.__main__": "it runs the commands",
    "refinemask.batch.child": "a process that a batch job starts",
    "engines.compiled.child": "a process that engines.build starts",
    "engines.trt.child": "a process that engines.build starts",
    "benchmarks.harness.worker": "a process that benchmarks start for each engine",
    "benchmarks.gpu_suite.packages": "a process that the GPU suite starts",
    "benchmarks.gpu_suite.accuracy": "it takes one directory and no option, and the GPU suite prints its command",
}
"""Modules that can be run and are no command with options, and why."""
VARIANTS = {"benchmarks.compare": ("--table", "efficiency")}
"""Words that give a command another set of options."""
INTRODUCTION = f"""\
# Commands

<!-- Made by {REMEDY}. Change the docstrings of the commands instead of this page. -->

`refinemask COMMAND` runs the commands that are used most. `python -m MODULE` runs the same ones and all others. The
text of each command is what its `--help` shows.

A command ends with exit code 0 where all went well. It ends with 1 where what it made is not what was asked for, with
2 and one line where something given is wrong, with 130 at Ctrl-C and with 143 at SIGTERM.

In the tables, a word in capitals stands for a value: `INT` is a whole number, `HxW` a height and a width such as
`800x1344`. An ellipsis (`…`) says that one or more values may follow. An option with two spellings, such as
`--check` and `--no-check`, takes no value: the first turns it on, the second off.
"""


@dataclass(frozen=True)
class Command:
    """One command line, as its module parses it."""

    name: str
    """The command as the page calls it, such as ``refinemask train``."""
    module: str
    words: tuple[str, ...]
    """Words that choose this set of options."""
    description: str
    parser: argparse.ArgumentParser

    @property
    def heading(self) -> str:
        """The command's name, or its module's where it has none of its own."""
        return self.name.removeprefix("python -m ")

    def parsers(self) -> dict[str, argparse.ArgumentParser]:
        """The command's own parser, under an empty name, and those of its subcommands."""
        chosen = [action.choices for action in self.parser._actions if isinstance(action.choices, dict)]
        return {"": self.parser} | {name: parser for choices in chosen for name, parser in choices.items()}


class _Found(BaseException):
    """A command has come to the point where it would parse its words."""

    def __init__(self, parser: argparse.ArgumentParser, description: str) -> None:
        self.parser, self.description = parser, description


def _found_by_tyro(kind: Any, *, args: Sequence[str], prog: str, description: str | None) -> NoReturn:
    # tyro gives its parser away by this function alone, and has no date for its end.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # Its class is a copy of argparse's that knows more of Unicode and colours.
        parser = cast(argparse.ArgumentParser, tyro.extras.get_parser(kind, prog=prog, description=description))
    raise _Found(parser, description or kind.__doc__ or "")


def _found_by_argparse(self: argparse.ArgumentParser, words: Sequence[str] | None = None) -> NoReturn:
    raise _Found(self, self.description or "")


def read_command(module: str, words: tuple[str, ...] = ()) -> Command:
    """Import a command, and stop it where it parses its command line.

    Raises:
        UserError: it ends without parsing one.
    """
    door = import_module(module)
    names = {module: command for command, (module, _) in COMMANDS.items()}
    program = module.removesuffix(".__main__")
    name = f"refinemask {names[module]}" if module in names else f"python -m {program}"
    try:
        with (
            mock.patch.object(tyro, "cli", _found_by_tyro),
            mock.patch.object(argparse.ArgumentParser, "parse_args", _found_by_argparse),
            mock.patch.object(sys, "argv", [program, *words]),
        ):
            door.main()
    except _Found as found:
        return Command(" ".join((name, *words)), program, words, cleandoc(found.description), found.parser)
    raise UserError(f"{module}: main parses no command line; expected a command, or a place in NO_COMMANDS")


def runnable_modules() -> Iterator[str]:
    """All modules of the packages that do something under ``python -m``, in order of their names."""
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        guards = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If))
        if any(ast.unparse(guard.test) == "__name__ == '__main__'" for guard in guards):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def read_commands() -> tuple[list[Command], list[Command]]:
    """The commands of ``refinemask``, and all others."""
    short = [module for module, _ in COMMANDS.values()]
    others = [module for module in runnable_modules() if module not in {*short, *NO_COMMANDS}]

    def read(modules: Sequence[str]) -> list[Command]:
        variants = [(m, words) for m in modules for words in ((), VARIANTS.get(m)) if words is not None]
        return [read_command(module, words) for module, words in variants]

    return read(short), read(others)


def groups(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse._ArgumentGroup, list[argparse.Action]]]:
    """The groups of a parser's help, each with what it shows besides ``--help`` and subcommands."""
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        shown = [action for action in shown if action.dest != "help" and not isinstance(action.choices, dict)]
        if shown:
            yield group, shown


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All arguments and options of a parser, without ``--help`` and subcommands."""
    return [action for _, actions in groups(parser) for action in actions]


def split_help(action: argparse.Action) -> tuple[str, str]:
    """Help text and default of an action; tyro writes the default into the text."""
    text = " ".join((action.help or "").split())
    match = re.fullmatch(r"(.*?) ?\((?:default: (.*)|required)\)", text)
    if match:
        return match[1], match[2] or ""
    known = action.default is not None and action.default != () and action.nargs != 0
    return text, str(action.default) if known else ""


def undocumented(commands: Sequence[Command]) -> list[str]:
    """One line for each option without a help text."""
    return [
        f"{command.name}: {spelling(action)[0]} has no help text; write a docstring below its field"
        for command in commands
        for parser in command.parsers().values()
        for action in actions_of(parser)
        if not split_help(action)[0]
    ]


def spelling(action: argparse.Action) -> list[str]:
    """An option's names, long ones first; an argument's name."""
    return sorted(action.option_strings, key=lambda name: not name.startswith("--")) or [value(action)]


def value(action: argparse.Action) -> str:
    """What an option takes, such as ``INT`` or ``{cpu,cuda}``; empty for a flag."""
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices is not None:
        metavar = f"{{{','.join(action.choices)}}}"
    else:
        metavar = str(action.metavar or action.dest.upper())
    # None is what an option is without being given, and nobody types it.
    metavar = metavar.replace("{None}|", "").replace("{None,", "{")
    many = re.fullmatch(r"\{?\[(.+) \[\1 \.\.\.\]\]\}?", metavar)
    if many or action.nargs in ("+", "*"):
        return f"{(many[1] if many else metavar).removesuffix('…')}…"
    return metavar


def _default(action: argparse.Action) -> str:
    default = split_help(action)[1]
    if action.nargs == 0:
        return {"True": "on", "False": "off"}.get(default, "")
    return _code("" if default == "None" else default.replace(f"{ROOT}/", ""))


def _code(*words: str) -> str:
    return ", ".join(f"`{word.replace('|', chr(92) + '|')}`" for word in words if word)


def _prose(text: str) -> str:
    """Text of a docstring as Markdown: what is special there stands for itself, but for code."""
    parts = re.split(r"``(.*?)``", text)
    return "".join(f"`{part}`" if i % 2 else re.sub(r"([|*<])", r"\\\1", part) for i, part in enumerate(parts))


def _row(action: argparse.Action) -> str:
    named = bool(action.option_strings)
    default = "required" if action.required else _default(action)
    cells = [_code(*spelling(action)), default, _prose(split_help(action)[0])]
    if named:
        cells.insert(1, _values(value(action)))
    return f"| {' | '.join(cells)} |"


def _values(takes: str) -> str:
    several = takes.removesuffix("…")
    if not several.startswith("{"):
        return _code(takes)
    return _code(*several[1:-1].split(",")) + (" …" if several != takes else "")


def _usage(command: Command) -> str:
    actions = actions_of(command.parser)
    places = [value(action) for action in actions if not action.option_strings]
    required = [f"{spelling(a)[0]} {value(a)}" for a in actions if a.option_strings and a.required]
    optional = ["[OPTIONS]"] if any(a.option_strings and not a.required for a in actions) else []
    subcommand = ["[SUBCOMMAND]"] if len(command.parsers()) > 1 else []
    return " ".join((command.name, *places, *required, *optional, *subcommand))


def _description(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines()]
        if all(line.startswith(("python -m ", "torchrun ")) for line in lines):
            yield "\n".join(("```", *lines, "```"))
        else:
            yield _prose("\n".join(lines))


def _tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group, actions in groups(parser):
        if group.description:
            yield f"{str(group.title).capitalize()}: {_prose(group.description)}"
        named = any(action.option_strings for action in actions)
        head = ("option", "values", "default", "meaning") if named else ("argument", "default", "meaning")
        yield "\n".join((f"| {' | '.join(head)} |", "|---" * len(head) + "|", *map(_row, actions)))


def _section(command: Command) -> Iterator[str]:
    yield f"### {command.heading}"
    yield f"```text\n{_usage(command)}\n```"
    if not command.name.startswith("python -m"):
        yield f"The same: `{' '.join(('python -m', command.module, *command.words))}`."
    yield from _description(command.description)
    for name, parser in command.parsers().items():
        if name:
            yield f"Subcommand `{name}`: {_prose(' '.join((parser.description or '').split()))}"
        yield from _tables(parser)


def render() -> str:
    """The page.

    Raises:
        FailedCheckError: an option has no help text.
    """
    short, others = read_commands()
    if faults := undocumented([*short, *others]):
        raise FailedCheckError("\n".join(faults))
    rooms = (("Commands of refinemask", short), ("Other modules", others))
    parts = [INTRODUCTION.strip()]
    for title, commands in rooms:
        parts += [f"## {title}", *(part for command in commands for part in _section(command))]
    return "\n\n".join(parts) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Write the page, or only check it; returns the exit code."""
    parser = argparse.ArgumentParser(prog=REMEDY, description="Write docs/reference/commands.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where the page is out of date")
    check = parser.parse_args(words).check
    return exit_code(_check if check else _write)


def _write() -> None:
    text = render()
    with atomic_write(PAGE) as temporary:
        temporary.write_text(text)


def _check() -> None:
    if not PAGE.is_file() or PAGE.read_text() != render():
        raise FailedCheckError(f"{PAGE}: is not what the commands say; {REMEDY}")


if __name__ == "__main__":
    raise SystemExit(main())
