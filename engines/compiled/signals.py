"""Signals during a call of compiled code."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread


@contextmanager
def held_signals() -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM wait; the first of them takes effect when it ends.

    On a CPU our operators are Python, which would raise a KeyboardInterrupt within compiled code. That makes another
    error of it, which looks like a defect.
    """
    # Python lets the main thread alone handle signals. What is no Python function ends the process, or does nothing.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    if current_thread() is not main_thread():
        held = {}
    arrived: list[int] = []
    try:
        for number in held:
            signal.signal(number, lambda number, frame: arrived.append(number))
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])
