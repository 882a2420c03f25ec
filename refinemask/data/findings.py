"""What a reader of annotations mended or left out, counted by kind."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One kind of oddity in an annotation file."""

    kind: Literal["mended", "left out"]
    """Whether the reader found the right value itself, or did without the entry."""
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

    _counts: dict[tuple[Literal["mended", "left out"], str], tuple[int, str]] = field(default_factory=dict)

    def mended(self, what: str, entry: str) -> None:
        """Count an entry whose right value was found."""
        self._add(("mended", what), entry)

    def left_out(self, what: str, entry: str) -> None:
        """Count an entry that was left out."""
        self._add(("left out", what), entry)

    def _add(self, key: tuple[Literal["mended", "left out"], str], entry: str) -> None:
        count, first = self._counts.get(key, (0, entry))
        self._counts[key] = count + 1, first

    def __iter__(self) -> Iterator[Finding]:
        for (kind, what), (count, first) in self._counts.items():
            yield Finding(kind, what, count, first)
