"""Bars of differences to either side of zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from refinemask.page.lanes import HEIGHT, Lane, lanes, percent
from refinemask.page.scales import Scale


@dataclass(frozen=True)
class Change:
    """A difference."""

    name: str
    """What has changed, as plain text."""
    value: float
    text: str
    """The difference as plain text."""


def changes(rows: Sequence[Change], unit: str, *, least: float) -> str:
    """The bars in the order that is given.

    Args:
        rows: at least one.
        unit: what the axis counts.
        least: smallest distance from zero to either end of the axis, so that trifles do not look large.
    """
    end = 1.04 * max(least, *(abs(row.value) for row in rows))
    scale = Scale(-end, end)
    drawn = [
        Lane(escape(row.name), _bar(row.value, scale), escape(row.text), f"{row.name}: {row.text}", unit)
        for row in rows
    ]
    return lanes(drawn, scale, unit, zero=0.0)


def _bar(value: float, scale: Scale) -> str:
    zero, end = scale.percent(0.0), scale.percent(value)
    # The smallest change must be seen, too.
    width = max(abs(end - zero), 0.3 * (value != 0))
    x = zero if value > 0 else zero - width
    kind = "gain" if value > 0 else "loss"
    return f'<rect class="{kind}" x="{percent(x)}" y="7" width="{percent(width)}" height="{HEIGHT - 14}" rx="2"/>'
