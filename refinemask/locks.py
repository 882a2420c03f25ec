"""Locks on files, which end with the process that holds them, however it ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOCKED_BYTE = 1 << 40
"""Place of the byte that is locked on Windows, past the end of any file: what is locked there cannot be written."""
BUSY = PermissionError if sys.platform == "win32" else BlockingIOError
"""What the system says of a lock that another has."""

_held: set[int] = set()
"""Handles of the locks that this process holds."""


def _release_in_child() -> None:
    # It has the same opening of the file, and would hold the lock for longer than its parent lives.
    while _held:
        os.close(_held.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_release_in_child)


def lock(handle: int) -> bool:
    """Lock an open file until it is closed; false if another process, or another opening of the file, has the lock.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        _lock(handle)
    except BUSY:
        return False
    return True


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Hold the lock of the file ``path``, which is made if missing, and say whether it was free.

    A file system without locks cannot tell, and calls it free. Processes that are forked within the block do not hold
    the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(handle)
    try:
        free = True
        with suppress(OSError):
            free = lock(handle)
        yield free
    finally:
        if handle in _held:
            _held.remove(handle)
            os.close(handle)
