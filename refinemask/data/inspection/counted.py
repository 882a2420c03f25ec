"""How many of a kind there are, and where to look for one."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Counted:
    """Things of one kind."""

    count: int
    first: str
    """The first of them, such as a file's name; empty if there is none."""

    def __bool__(self) -> bool:
        return self.count > 0


def counted(names: Sequence[str]) -> Counted:
    """How many names there are, and the first of them."""
    return Counted(len(names), names[0] if names else "")
