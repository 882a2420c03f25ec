"""Tiles: a large figure each, and what it is below."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Tile:
    """A figure; all of it plain text."""

    value: str
    what: str
    below: str = ""
    """What is said of it in small letters, such as its interval."""
    words: bool = False
    """Whether the figure is words, which are written smaller."""


def tiles(shown: Iterable[Tile]) -> str:
    """The tiles side by side."""
    return f'<div class="tiles">{"".join(map(_tile, shown))}</div>'


def _tile(tile: Tile) -> str:
    kind = ' class="words"' if tile.words else ""
    below = f"<small>{escape(tile.below)}</small>" if tile.below else ""
    return f'<div class="tile"><b{kind}>{escape(tile.value)}</b><span>{escape(tile.what)}</span>{below}</div>'
