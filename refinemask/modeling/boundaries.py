"""Values between the stages of a detector, which a verification reads and replaces.

A network's detections say little about where it goes wrong, and a rounding may exchange one for another. So each stage
is judged on its own, on the values that another implementation's earlier stages have found.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Boundaries:
    """The values of one forward pass, by name."""

    given: Mapping[str, Tensor]
    """Values that take the place of the detector's own."""
    seen: dict[str, Tensor] = field(default_factory=dict)
    """The detector's own values, each computed from those that were given for the boundaries before it."""


_open: ContextVar[Boundaries | None] = ContextVar("boundaries", default=None)


@contextmanager
def observed(given: Mapping[str, Tensor] | None = None) -> Iterator[Boundaries]:
    """While this is open, a detector's forward pass notes its values, and goes on with ``given`` ones."""
    boundaries = Boundaries(given or {})
    token = _open.set(boundaries)
    try:
        yield boundaries
    finally:
        _open.reset(token)


def boundary(name: str, value: Tensor) -> Tensor:
    """The value that a detector goes on with: ``value``, unless :func:`observed` was given another."""
    boundaries = _open.get()
    if boundaries is None:
        return value
    boundaries.seen[name] = value
    return boundaries.given.get(name, value)
