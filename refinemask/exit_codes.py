"""How every command of this project ends: an exit code, and one line where Python would print a traceback."""

import errno
import io
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType, TracebackType
from typing import Any

from refinemask.extras import MissingPackageError, missing_package
from refinemask.files import UNWRITABLE, FailedCheckError, UserError

FAILED_CHECK, BAD_INPUT, REQUIREMENT_NOT_MET = 1, 2, 3
INTERRUPTED, READER_GONE, TERMINATED = 130, 141, 143
"""Exit codes of a failed check, bad input, a benchmark's requirement that is not met, Ctrl-C, an output that nobody
reads, and SIGTERM: the last three are those that a shell reports for the signals SIGINT, SIGPIPE, which Windows has
not, and SIGTERM."""

REFUSED_BY_SYSTEM = UNWRITABLE | {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
"""Errors of the system by which a file or a disk, and no code, is at fault."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what a command has half written or started goes away as at Ctrl-C."""


def exit_code(action: Callable[[], int | None]) -> int:
    """Run ``action``, and print one line if it ends by an error that is no fault of this project.

    Returns:
        The exit code: that of the action, or 1 for :class:`FailedCheckError`, 2 for :class:`UserError`, for a missing
        package of an extra and for a file or disk that the system refuses, 130 for Ctrl-C, 141 if nobody reads the
        output any more, 143 for SIGTERM.
    """
    _open_standard_files()
    # Names of files and classes may hold what the output's encoding has no sign for.
    output = sys.stdout
    if isinstance(output, io.TextIOWrapper) and (output.errors == "strict" or output.encoding.lower() != "utf-8"):
        output.reconfigure(errors="backslashreplace")
    try:
        with _terminable():
            code = action() or 0
            if sys.stdout is not None:
                sys.stdout.flush()
    except UserError as error:
        return _end(f"error: {error}", BAD_INPUT)
    except ModuleNotFoundError as error:
        missing = missing_package(error, program_name())
        if missing is None:
            raise
        return _end(f"error: {missing}", BAD_INPUT)
    except FailedCheckError as error:
        return _end(f"error: {error}", FAILED_CHECK)
    except _Terminated:
        return _end("terminated", TERMINATED)
    except KeyboardInterrupt:
        return _end("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes once more as it exits, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as error:
        if error.errno not in REFUSED_BY_SYSTEM:
            raise
        return _end(f"error: {error.filename or 'the output'}: {error.strerror}", BAD_INPUT)
    return code


def _open_standard_files() -> None:
    """Where standard input, output or error is closed, the null device takes its number.

    Otherwise the next file that is opened would, such as an output, and get what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        # For None, print takes standard output.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def program_name() -> str:
    """The program as a user calls it, such as ``python -m refinemask.predict``."""
    spec = sys.modules["__main__"].__spec__
    if spec is None or not sys.argv[0].endswith(".py"):
        return sys.argv[0]
    return f"python -m {spec.name.removesuffix('.__main__')}"


def command_line() -> str:
    """The command as a user could type it again."""
    return f"{program_name()} {shlex.join(sys.argv[1:])}".rstrip()


@contextmanager
def _terminable() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    # Python lets the main thread alone handle signals.
    if current_thread() is not main_thread():
        yield
        return
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    # What imports in C may swallow or turn an exception into another one.
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Within the block, which has nothing to undo, Ctrl-C ends the process on the spot."""
    previous = _hear_interrupt(_end_at_once)
    try:
        yield
    finally:
        _hear_interrupt(previous)


def _hear_interrupt(handler: Any) -> Any:
    """Set what Ctrl-C does, and return what it did. A process that ignores it, as in the background, still does."""
    previous = signal.getsignal(signal.SIGINT)
    if current_thread() is main_thread() and previous in (signal.default_int_handler, _end_at_once):
        signal.signal(signal.SIGINT, handler)
    return previous


def interrupt_imports_at_once(packages: Sequence[str]) -> None:
    """In a process that ``python -m`` started for a command of one of ``packages``, Ctrl-C is one line from now on.

    The command imports what it needs, such as PyTorch, which takes seconds, before :func:`exit_code` is called. That
    makes Ctrl-C a ``KeyboardInterrupt`` again. No other process is changed.
    """
    if _module_that_starts().partition(".")[0] in packages:
        _hear_interrupt(_end_at_once)


def name_missing_packages(packages: Sequence[str]) -> None:
    """In a process that ``python -m`` started for a command of one of ``packages``, name the extra that is missing.

    Such a command imports what it needs before :func:`exit_code` is called. No other process is changed.
    """
    module = _module_that_starts()
    package = module.partition(".")[0]
    if package not in packages:
        return
    usual = sys.excepthook

    def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        missing = error if isinstance(error, MissingPackageError) else None
        if missing is None and isinstance(error, ModuleNotFoundError):
            missing = missing_package(error, f"python -m {module}", extra=package)
        if missing is None:
            usual(kind, error, trace)
            return
        raise SystemExit(_end(f"error: {missing}", BAD_INPUT))

    sys.excepthook = end


def _module_that_starts() -> str:
    """The module of ``python -m`` while its package is imported; afterwards, and in other processes, empty."""
    if sys.argv[:1] != ["-m"]:
        return ""
    # What stands before a command's own words: the module, which may be joined to the option, as in ``-mexport.check``.
    word = sys.orig_argv[-len(sys.argv)]
    return word.partition("m")[2] if word.startswith("-") else word


def printable(text: str) -> str:
    """A text in one line: names of files may hold line breaks, and what a terminal obeys."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _end(line: str, code: int) -> int:
    print(printable(line), file=sys.stderr)
    return code
