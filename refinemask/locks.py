"""Locks on files, which end with the process that holds them, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_held: set[int] = set()
"""Handles of the locks that this process holds."""


def _release_in_child() -> None:
    # It has the same opening of the file, and would hold the lock for longer than its parent lives.
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_release_in_child)


def lock(handle: int) -> bool:
    """Lock an open file until it is closed; false if another process, or another opening of the file, has the lock.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
