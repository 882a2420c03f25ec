"""Reading what may come late or never: standard input and pipes. Imports no PyTorch."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from refinemask.files import UserError
from refinemask.sources.source import TICK

STANDARD_INPUT = 0
"""Number of the open file that is standard input."""
BLOCK = 1 << 16
"""Bytes that are read at once at most."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file or a pipe for reading, without waiting for a pipe's writer; yields the number of the open file.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{os.fspath(path)!r}: cannot be read: {error}") from error
    try:
        yield file
    finally:
        os.close(file)


def read_blocks(name: str, file: int, closed: Event) -> Iterator[bytes]:
    """Bytes of an open file as they come, until its end or until ``closed`` is set.

    A thread that waits in ``read`` cannot be woken, and one that is left to wait there may hold Python's lock on
    standard input when the process ends. So this asks the system first whether there is something to read, and looks
    for ``closed`` in between. Windows can be asked this of no file but sockets; there it waits.

    Raises:
        UserError: it cannot be read; ``name`` is in its text.
    """
    poll = select.poll() if hasattr(select, "poll") else None
    if poll:
        poll.register(file, select.POLLIN)
    try:
        while not closed.is_set():
            if poll and not poll.poll(1000 * TICK):
                continue
            block = os.read(file, BLOCK)
            if not block:
                return
            yield block
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from error
