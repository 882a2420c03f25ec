"""How work tells the phases that it consists of, to whoever measures them. Imports no PyTorch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Phases = Callable[[str], AbstractContextManager[object]]
"""Called with the name of a phase; the phase is the block of what it returns."""


def unmeasured(phase: str) -> AbstractContextManager[object]:
    """A block that measures nothing."""
    return nullcontext()
