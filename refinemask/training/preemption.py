"""Stopping in good order when a scheduler takes the machine back, or at Ctrl-C."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NOTICE = b"\nstopping after this iteration, whose state is saved; Ctrl-C once more stops at once\n"


class Preemption:
    """Whether SIGTERM or Ctrl-C has arrived."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._interrupted = False

    @property
    def requested(self) -> bool:
        """Whether the run is to stop."""
        return self._first is not None

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process that the first signal ended; SIGTERM if another process got it."""
        return 128 + (self._first or signal.SIGTERM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            # A print may itself have been interrupted.
            os.write(2, NOTICE)
        self._first = self._first or number


@contextmanager
def catch_preemption() -> Iterator[Preemption]:
    """Within the block SIGTERM and the first SIGINT only set ``requested``; a second SIGINT is a KeyboardInterrupt.

    A SIGINT that this process ignores, as in the background of a script, stays ignored.
    """
    preemption = Preemption()
    heard = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        heard.append(signal.SIGINT)
    previous = {number: signal.signal(number, preemption._on_signal) for number in heard}
    try:
        yield preemption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
