"""Child processes that end when their parent does, however that ends, or when it fails."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

SECONDS_BETWEEN_LOOKS = 1.0
"""Time between two looks for the parent, where the kernel does not tell of its end."""
PR_SET_PDEATHSIG = 1


KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
"""What ends a process at once: on Windows every signal that a program sends does."""


def end_with_parent(parent: int, number: signal.Signals = KILL) -> None:
    """Have this process get a signal as soon as its parent has ended; called early in the child.

    A child that waits for its parent does not notice that it was killed, and would wait for ever.

    Args:
        parent: id of the process that must live on; the thread of it that started this process must, too.
        number: the signal.
    """
    if _kernel_tells(number) and os.getppid() == parent:
        return
    # Another system, another parent (a server that forks for it), or one that has ended already.
    Thread(target=_watch, args=(parent, number), daemon=True).start()


@contextmanager
def ended_by_errors(child: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Within the block a child process works. An error or an interruption kills it; otherwise the block waits for it.

    Popen's own block waits in either case, which can be minutes.
    """
    with child:
        try:
            yield child
        except BaseException:
            child.kill()
            raise


def _kernel_tells(number: signal.Signals) -> bool:
    """Whether Linux sends the signal when the parent ends."""
    return sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0) == 0


def _watch(parent: int, number: signal.Signals) -> None:
    while _is_alive(parent):
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), number)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        # There os.kill ends a process, or sends it Ctrl-C. Only what trains comes here, so its packages are there.
        import psutil

        return psutil.pid_exists(process)
    try:
        os.kill(process, 0)
    except PermissionError:
        # It lives, as another user.
        return True
    except ProcessLookupError:
        return False
    return True
