"""Charts of one lane for each row: a name, a strip of drawing as wide as the page has room, and a number.

Places are in percent of the width and texts in pixels, so a lane is laid out anew at every width and no text shrinks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from refinemask.page.scales import Scale, labels

HEIGHT = 28
"""Height of a lane, in pixels."""
NEAR_THE_END = 93
"""Place in percent from which a label would reach over the end of an axis on a phone, and stands before its tick."""


@dataclass(frozen=True)
class Lane:
    """A row of a chart."""

    name: str
    """HTML of the name."""
    marks: str
    """What is drawn, as SVG."""
    value: str
    """HTML of the number on the right."""
    title: str
    """What the lane says, as plain text."""
    description: str = ""


def lanes(rows: Sequence[Lane], scale: Scale, unit: str, *, zero: float | None = None) -> str:
    """The lanes below one another, and their common axis.

    Args:
        rows: the lanes.
        scale: their axis.
        unit: what the axis counts, as plain text.
        zero: a value at which a line stands.
    """
    ticks = scale.ticks(5)
    lines = "".join(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="100%"/>' for x in _places(scale, ticks))
    if zero is not None:
        x = percent(scale.percent(zero))
        lines += f'<line class="zero" x1="{x}" x2="{x}" y1="0" y2="100%"/>'
    drawn = "".join(
        f'<div class="lane-row"><span class="lane-name">{row.name}</span>'
        f'<svg class="lane" height="{HEIGHT}" role="img"><title>{escape(row.title)}</title>'
        f"<desc>{escape(row.description or unit)}</desc>{lines}{row.marks}</svg>"
        f'<span class="lane-value">{row.value}</span></div>'
        for row in rows
    )
    return f'<div class="lanes">{drawn}{_axis(scale, ticks, unit)}</div>'


def _axis(scale: Scale, ticks: Sequence[float], unit: str) -> str:
    texts = "".join(
        f'<text x="{percent(x)}" y="14" text-anchor="{"middle" if x < NEAR_THE_END else "end"}">{text}</text>'
        for x, text in zip(map(scale.percent, ticks), labels(ticks), strict=True)
    )
    return (
        f'<div class="lane-row"><span></span><div class="lane-axis"><svg class="lane" height="18" aria-hidden="true">'
        f'{texts}</svg><div class="unit">{escape(unit)}</div></div><span></span></div>'
    )


def _places(scale: Scale, values: Sequence[float]) -> list[str]:
    return [percent(scale.percent(value)) for value in values]


def percent(value: float) -> str:
    """A place or a width in percent, as SVG takes it."""
    return f"{value:.5g}%"
