"""How every command of this project ends: an exit code, and one line where Python would print a traceback."""

import os
import signal
import sys
from collections.abc import Callable

from refinemask.files import FailedCheckError, UserError

FAILED_CHECK, BAD_INPUT = 1, 2
INTERRUPTED, READER_GONE = 128 + signal.SIGINT, 128 + signal.SIGPIPE
"""Exit codes of a failed check, bad input, Ctrl-C and an output that nobody reads."""


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


def _end(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
