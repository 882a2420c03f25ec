"""Whether a chain of small computations is one custom operator, as in an exported file."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_fused: ContextVar[bool] = ContextVar("fused", default=False)


@contextmanager
def fused_operators() -> Iterator[None]:
    """While this is open, what is traced has one operator in the place of each chain that there is an operator for.

    The chains remain everywhere else: PyTorch differentiates them, and its compiler fuses them by itself.
    """
    token = _fused.set(True)
    try:
        yield
    finally:
        _fused.reset(token)


def is_fused() -> bool:
    """Whether :func:`fused_operators` is open."""
    return _fused.get()
