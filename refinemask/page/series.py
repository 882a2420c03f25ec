"""What a chart compares: each has a number, a colour and a name, which are the same in all charts of a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = 8
"""Number of colours in the style, after Okabe and Ito, which the colour-blind can tell apart."""


@dataclass(frozen=True)
class Series:
    """One of the things that are compared."""

    number: int
    """Its number, from 1."""
    name: str

    @property
    def colour(self) -> str:
        """Class of its colour: beyond the last they begin anew, and the number tells apart."""
        return f"c{(self.number - 1) % COLOURS}"

    @property
    def dash(self) -> str:
        """Class of its line: those of one colour differ."""
        return f"d{(self.number - 1) // COLOURS % 4}"

    @property
    def badge(self) -> str:
        """The number in a ring of the colour."""
        return f'<span class="badge {self.colour}">{self.number}</span>'

    @property
    def html(self) -> str:
        """Badge and name."""
        return f'<span class="series">{self.badge}<span>{breakable(self.name)}</span></span>'


def breakable(text: str) -> str:
    """The HTML of a text that may be broken after the signs that join a file's name with its options."""
    return escape(text).replace("@", "@<wbr>").replace(":", ":<wbr>")


def key(series: Sequence[Series]) -> str:
    """Which number is what."""
    return f'<div class="keys">{"".join(each.html for each in series)}</div>'
