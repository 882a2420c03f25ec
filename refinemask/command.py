"""How every command of this project ends: an exit code, and one line where Python would print a traceback."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

import tyro

from refinemask.files import FailedCheckError, UserError
from refinemask.spelling import Old, OldSide, respell

Args = TypeVar("Args")

FAILED_CHECK, BAD_INPUT = 1, 2
INTERRUPTED, READER_GONE = 128 + signal.SIGINT, 128 + signal.SIGPIPE
"""Exit codes of a failed check, bad input, Ctrl-C and an output that nobody reads."""


def execute(
    kind: type[Args],
    action: Callable[[Args], int | None],
    args: Args | None = None,
    description: str | None = None,
    old: Mapping[str, Old | OldSide] | None = None,
) -> int:
    """Parse the command line into ``kind`` unless ``args`` are given, run ``action`` on it, and report how it ended.

    Args:
        kind: dataclass of the command's arguments; a :class:`UserError` that it raises is bad input, too.
        action: function that does the work and prints; it returns the exit code, and None is 0.
        args: arguments that need no parsing.
        description: help text, if not the docstring of ``kind``.
        old: old spellings of options that still work.

    Returns:
        The exit code, as :func:`exit_code` gives it.
    """

    def parse_and_act() -> int | None:
        if args is not None:
            return action(args)
        words = respell(sys.argv[1:], old or {})
        return action(tyro.cli(kind, args=words, prog=program_name(), description=description))

    return exit_code(parse_and_act)


def exit_code(action: Callable[[], int | None]) -> int:
    """Run ``action``, and print one line if it ends by an error that is no fault of this project.

    Returns:
        The exit code: that of the action, or 1 for :class:`FailedCheckError`, 2 for :class:`UserError`, 130 for
        Ctrl-C, 141 if nobody reads the output any more.
    """
    try:
        code = action() or 0
        sys.stdout.flush()
    except UserError as error:
        return _end(f"error: {error}", BAD_INPUT)
    except FailedCheckError as error:
        return _end(f"error: {error}", FAILED_CHECK)
    except KeyboardInterrupt:
        return _end("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes once more as it exits, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return code


def program_name() -> str:
    """The program as a user calls it, such as ``python -m refinemask.predict``."""
    spec = sys.modules["__main__"].__spec__
    if spec is None or not sys.argv[0].endswith(".py"):
        return sys.argv[0]
    return f"python -m {spec.name.removesuffix('.__main__')}"


def _end(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
