"""How every command of this project begins: its command line becomes a dataclass."""

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

import tyro

from refinemask.exit_codes import exit_code, program_name
from refinemask.spelling import Old, OldSide, respell

Args = TypeVar("Args")


def execute(
    kind: type[Args],
    action: Callable[[Args], int | None],
    args: Args | None = None,
    description: str | None = None,
    old: Mapping[str, Old | OldSide] | None = None,
) -> int:
    """Parse the command line into ``kind`` unless ``args`` are given, run ``action`` on it, and report how it ended.

    Args:
        kind: dataclass of the command's arguments; a ``UserError`` that it raises is bad input, too.
        action: function that does the work and prints; it returns the exit code, and None is 0.
        args: arguments that need no parsing.
        description: help text, if not the docstring of ``kind``.
        old: old spellings of options that still work.

    Returns:
        The exit code, as :func:`refinemask.exit_codes.exit_code` gives it.
    """

    def parse_and_act() -> int | None:
        if args is not None:
            return action(args)
        words = respell(sys.argv[1:], old or {})
        return action(tyro.cli(kind, args=words, prog=program_name(), description=description))

    return exit_code(parse_and_act)
