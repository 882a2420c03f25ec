"""Small charts as inline HTML and SVG, which take their colours from the page."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _BASE, _TOP = 560, 198, 158, 22


def bar(value: int, largest: int) -> str:
    """A horizontal bar as long as ``value`` is a part of ``largest``."""
    width = 100 * value / largest if largest else 0
    return f'<svg class="bar"><rect class="back" width="100%"/><rect width="{width:.2f}%"/></svg>'


def stack(parts: Mapping[str, int]) -> str:
    """One bar of several parts with their names and shares below; empty if all are zero."""
    total = sum(parts.values())
    if not total:
        return ""
    pieces, start = [], 0.0
    for value in parts.values():
        pieces.append(f'<rect x="{start:.2f}%" width="{100 * value / total:.2f}%"/>')
        start += 100 * value / total
    keys = "".join(f"<span>{escape(name)} {100 * value / total:.1f} %</span>" for name, value in parts.items())
    return f'<svg class="stack">{"".join(pieces)}</svg><div class="keys">{keys}</div>'


def histogram(counts: Sequence[int], labels: Sequence[str], marks: Mapping[str, float], unit: str) -> str:
    """Bars of equal width.

    Args:
        counts: height of each bar.
        labels: text at the left edge of each bar; empty for none.
        marks: by name, where a dashed line stands, in bars from the left.
        unit: what the labels count.
    """
    step = _WIDTH / len(counts)
    largest = max(1, *counts)
    shapes = []
    for place, (count, label) in enumerate(zip(counts, labels, strict=True)):
        # A single object must be seen, too.
        top = _BASE - max((_BASE - _TOP) * count / largest, 1.5 * (count > 0))
        shapes.append(
            f'<rect x="{place * step + 1:.1f}" y="{top:.1f}" width="{step - 2:.1f}" height="{_BASE - top:.1f}" '
            f'rx="2"><title>{count:,}</title></rect>'
        )
        if label:
            shapes.append(f'<text x="{place * step:.1f}" y="{_BASE + 15}" text-anchor="middle">{escape(label)}</text>')
    for name, distance in marks.items():
        x = distance * step
        anchor = "end" if x > _WIDTH / 2 else "start"
        shift = -5 if anchor == "end" else 5
        shapes.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{_BASE}"/>')
        shapes.append(f'<text class="marked" x="{x + shift:.1f}" y="14" text-anchor="{anchor}">{escape(name)}</text>')
    axis = f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{_BASE}" y2="{_BASE}"/>'
    caption = f'<text x="{_WIDTH}" y="{_HEIGHT - 2}" text-anchor="end">{escape(unit)}</text>'
    view = f'viewBox="-8 0 {_WIDTH + 16} {_HEIGHT}"'
    return f'<svg class="histogram" {view} role="img">{axis}{"".join(shapes)}{caption}</svg>'


def octaves(value: float, first: float, per_octave: int) -> float:
    """Where a value lies on an axis of bars that begins one bar before ``first``, ``per_octave`` to a doubling."""
    return 1 + per_octave * math.log2(value / first)
