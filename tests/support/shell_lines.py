"""Command lines of the pages, held against the commands."""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from refinemask.__main__ import COMMANDS
from scripts.command_reference import NO_COMMANDS, PACKAGES, VARIANTS, Command, actions_of, read_commands
from tests.support.markdown_pages import ROOT, Page

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHELLS = ("", "bash", "sh", "shell", "console")
"""Languages of blocks that may hold command lines."""
ELLIPSES = ("…", "...")
"""What stands for words that a page leaves out."""
PYTHON = re.compile(r"python(3(\.\d+)?)?")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


@lru_cache(maxsize=1)
def _commands() -> dict[tuple[str, tuple[str, ...]], Command]:
    short, others = read_commands()
    return {(command.module, command.words): command for command in (*short, *others)}


@lru_cache(maxsize=1)
def _extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@lru_cache(maxsize=1)
def _targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def shell_lines(page: Page) -> Iterator[str]:
    """The lines of a page's shell blocks, continued ones joined."""
    for fence in page.fences(*SHELLS):
        for line in fence.code.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ")


def simple_commands(line: str) -> list[list[str]]:
    """The words of each command of a line, without variables, redirections and comments; none if it is no shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return []
    commands: list[list[str]] = [[]]
    for word in words:
        if re.fullmatch(r"[|&;]+", word):
            commands.append([])
        elif commands[-1] or not ASSIGNMENT.fullmatch(word):
            commands[-1].append(word)
    cut = [next((i for i, word in enumerate(words) if re.fullmatch(r"[<>]+", word)), None) for words in commands]
    return [words[:end] for words, end in zip(commands, cut, strict=True) if words[:end]]


def shell_faults(page: Page) -> list[str]:
    """One line for each command of a page that would not be understood."""
    return [
        f"{page}: {line}: {fault}"
        for line in shell_lines(page)
        for words in simple_commands(line)
        if (fault := command_fault(words))
    ]


def inline_faults(page: Page) -> list[str]:
    """One line for each command in backticks that names a module, an option or a target that does not exist."""
    starts = ("python -m ", "refinemask ", "make ")
    return [
        f"{page}: `{code}`: {fault}"
        for code in page.codes()
        if code.startswith(starts)
        for words in simple_commands(code)
        if (fault := command_fault([*words, "…"]))
    ]


def command_fault(words: list[str]) -> str | None:
    """What is wrong with the words of one command, if it is one of ours."""
    program = Path(words[0]).name
    if PYTHON.fullmatch(program):
        return _python_fault(words[1:])
    if program == "uv":
        return command_fault(words[2:] if words[1:2] == ["run"] else words[1:]) if len(words) > 2 else None
    if program == "torchrun":
        return _python_fault(words[words.index("-m") :]) if "-m" in words else None
    if program == "pip":
        return _pip_fault(words)
    if program == "make":
        named = [word for word in words[1:] if re.match(r"[a-z]", word)]
        unknown = [word for word in named if word not in _targets()]
        return f"the Makefile has no target {unknown[0]}" if unknown else None
    if program == "refinemask" and len(words) > 1 and not words[0].endswith("/") and re.match(r"[a-z]", words[1]):
        return _arguments_fault(COMMANDS[words[1]][0], words[2:]) if words[1] in COMMANDS else "no such command"
    return None


def _pip_fault(words: list[str]) -> str | None:
    named = [extra for word in words for extra in re.findall(r"^(?:\.|refinemask)\[(.+)\]", word)]
    unknown = sorted({name.strip() for extra in named for name in extra.split(",")} - _extras())
    return f"pyproject.toml has no extra {unknown[0]}" if unknown else None


def _python_fault(words: list[str]) -> str | None:
    if words[:1] == ["-m"] and len(words) > 1:
        module = words[1]
        if module == "pip":
            return _pip_fault(words[2:])
        if module.partition(".")[0] in PACKAGES:
            return _arguments_fault(module, words[2:])
        placeholder = module.isupper() or module in ELLIPSES
        return None if placeholder or find_spec(module.partition(".")[0]) else f"there is no module {module}"
    if words and words[0].endswith(".py"):
        return None if (ROOT / words[0]).is_file() else f"there is no file {words[0]}"
    return None


def _arguments_fault(module: str, words: list[str]) -> str | None:
    # python -m runs that of a package.
    module = module.removesuffix(".__main__")
    if module in NO_COMMANDS:
        return None
    variant = VARIANTS.get(module, ())
    if variant and " ".join(variant) in " ".join(words):
        words = [word for word in words if word not in variant]
    else:
        variant = ()
    command = _commands().get((module, variant))
    if command is None:
        return f"there is no command {module}"
    if {"--help", "-h"} & set(words):
        return None
    if any(ellipsis in word for word in words for ellipsis in ELLIPSES):
        return _unknown_option(command, words)
    return _refusal(command, words)


def _unknown_option(command: Command, words: list[str]) -> str | None:
    known = {
        name for parser in command.parsers().values() for action in actions_of(parser) for name in action.option_strings
    }
    options = [word.partition("=")[0].strip("[],") for word in words if re.match(r"\[?--?[a-z]", word)]
    unknown = [option for option in options if option not in known]
    return f"{command.name} has no option {unknown[0]}" if unknown else None


def _refusal(command: Command, words: list[str]) -> str | None:
    """What the command's own parser says against the words."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            command.parser.parse_args(words)
        except SystemExit:
            return " ".join(output.getvalue().split()) or f"{command.name} refuses it"
    return None
