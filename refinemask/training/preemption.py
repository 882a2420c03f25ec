"""Stopping in good order when a scheduler takes the machine back."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""Exit code that a shell reports for a process that SIGTERM ended."""


class Preemption:
    """Whether SIGTERM has arrived."""

    def __init__(self) -> None:
        self.requested = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


@contextmanager
def catch_preemption() -> Iterator[Preemption]:
    """Within the block SIGTERM only sets ``requested``."""
    preemption = Preemption()
    previous = signal.signal(signal.SIGTERM, preemption._on_signal)
    try:
        yield preemption
    finally:
        signal.signal(signal.SIGTERM, previous)
