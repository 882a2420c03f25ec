"""What a reader of annotations mended or left out, counted by kind."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from refinemask.distributed import say

Kind = Literal["mended", "left out", "note"]
"""Whether the reader found the right value itself, did without the entry, or only draws attention to it."""


@dataclass(frozen=True)
class Finding:
    """One kind of oddity in an annotation file."""

    kind: Kind
    """What the reader did."""
    what: str
    """The oddity, as words behind a number, such as ``objects without an area (it is that of the mask)``."""
    count: int
    """Number of entries that have it."""
    first: str
    """The first of them, such as ``annotation 17``."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.count} {self.what}, the first is {self.first}"


@dataclass
class Findings:
    """The oddities of a file, collected while it is read."""

    _counts: dict[tuple[Kind, str], tuple[int, str]] = field(default_factory=dict)

    def mended(self, what: str, entry: str) -> None:
        """Count an entry whose right value was found."""
        self._add("mended", what, entry)

    def left_out(self, what: str, entry: str) -> None:
        """Count an entry that was left out."""
        self._add("left out", what, entry)

    def note(self, what: str, entry: str, count: int = 1) -> None:
        """Count entries that are kept as they are, and deserve a look; ``entry`` is the first of them."""
        self._add("note", what, entry, count)

    def _add(self, kind: Kind, what: str, entry: str, more: int = 1) -> None:
        count, first = self._counts.get((kind, what), (0, entry))
        self._counts[kind, what] = count + more, first

    def __iter__(self) -> Iterator[Finding]:
        for (kind, what), (count, first) in self._counts.items():
            yield Finding(kind, what, count, first)


def print_findings(path: str | os.PathLike[str], findings: Findings) -> None:
    """Print one line to standard error for every kind of oddity of the file ``path``, once for all processes."""
    say(*(f"{path}: {finding}" for finding in findings))
