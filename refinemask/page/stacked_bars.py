"""Bars of several parts: how long each part of something takes, one bar for each series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from refinemask.page.lanes import HEIGHT, Lane, lanes, percent
from refinemask.page.scales import Scale
from refinemask.page.series import COLOURS, Series

ORDER = (5, 4, 7, 0, 2, 3, 6, 1)
"""Colours of the parts: other than those of the series with the same number."""


@dataclass(frozen=True)
class StackedBar:
    """A bar."""

    series: Series
    parts: Mapping[str, float]
    """Length of each part by its name; none is negative."""
    text: str
    """What stands right of the bar."""


def stacked_bars(bars: Sequence[StackedBar], unit: str) -> str:
    """The bars, and which colour is which part if there are several.

    Args:
        bars: at least one; those that lack a part have none of it.
        unit: what the axis counts.
    """
    names = list(dict.fromkeys(name for bar in bars for name in bar.parts))
    longest = max(sum(bar.parts.values()) for bar in bars)
    scale = Scale(0.0, longest or 1.0)
    rows = []
    for bar in bars:
        marks, start = [], 0.0
        for place, name in enumerate(names):
            length = bar.parts.get(name, 0.0)
            x, width = scale.percent(start), scale.percent(length)
            marks.append(
                f'<rect class="part {_colour(place)}" x="{percent(x)}" y="5" width="{percent(width)}" '
                f'height="{HEIGHT - 10}"><title>{escape(name)}: {length:,.3g} {escape(unit)}</title></rect>'
            )
            start += length
        told = ", ".join(f"{name} {length:,.3g}" for name, length in bar.parts.items())
        rows.append(Lane(bar.series.html, "".join(marks), escape(bar.text), f"{bar.series.name}: {bar.text}", told))
    keys = "".join(
        f'<span class="series"><svg class="swatch" aria-hidden="true"><rect class="part {_colour(place)}" '
        f'width="100%" height="100%"/></svg><span>{escape(name)}</span></span>'
        for place, name in enumerate(names)
    )
    return lanes(rows, scale, unit) + (f'<div class="keys">{keys}</div>' if len(names) > 1 else "")


def _colour(place: int) -> str:
    return f"c{ORDER[place % COLOURS]}"
