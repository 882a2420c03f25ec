"""The plane of a chart with two axes: as wide as the page has room, of a fixed height, with texts outside of it."""

from html import escape

from refinemask.page.lanes import percent
from refinemask.page.scales import Scale, labels


def plane(x: Scale, y: Scale, units: tuple[str, str], height: int, marks: str, told: tuple[str, str]) -> str:
    """Axes and what is drawn between them.

    Args:
        x: the axis to the right.
        y: the axis upwards.
        units: what the axes count, as plain texts.
        height: in pixels.
        marks: SVG, with x in percent and y in pixels from the top.
        told: title and description of the chart, as plain texts.
    """
    lines, texts = [], []
    ticks = x.ticks()
    for tick, text in zip(ticks, labels(ticks), strict=True):
        place = percent(x.percent(tick))
        lines.append(f'<line class="grid" x1="{place}" x2="{place}" y1="0" y2="{height}"/>')
        texts.append(f'<text x="{place}" y="{height + 18}" text-anchor="middle">{text}</text>')
    ticks = y.ticks(height // 36)
    for tick, text in zip(ticks, labels(ticks), strict=True):
        place = f"{down(y, tick, height):.1f}"
        lines.append(f'<line class="grid" x1="0" x2="100%" y1="{place}" y2="{place}"/>')
        texts.append(f'<text x="-8" y="{place}" dy=".35em" text-anchor="end">{text}</text>')
    axes = f'<path class="axis" d="M0 0V{height}"/><line class="axis" x1="0" x2="100%" y1="{height}" y2="{height}"/>'
    return (
        f'<div class="unit upward">{escape(units[1])}</div><div class="plane"><svg height="{height}" role="img">'
        f"<title>{escape(told[0])}</title><desc>{escape(told[1])}</desc>"
        f'{"".join(lines)}{axes}{"".join(texts)}{marks}</svg></div><div class="unit">{escape(units[0])}</div>'
    )


def down(scale: Scale, value: float, height: int) -> float:
    """Distance from the top in pixels."""
    return height * (1 - scale.percent(value) / 100)
