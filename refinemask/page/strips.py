"""How samples are spread: every sample a dot, with the quartiles as a box and other quantiles as ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refinemask.page.lanes import HEIGHT, Lane, lanes, percent
from refinemask.page.scales import Scale, fit
from refinemask.page.series import Series

MOST_DOTS = 400
"""Largest number of samples of a series that are drawn; of more, so many that are evenly spread over their order."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Those that are marked."""


@dataclass(frozen=True)
class Strip:
    """The samples of a series, at least one."""

    series: Series
    samples: Sequence[float]

    def quantiles(self) -> list[float]:
        """:data:`QUANTILES` of all samples, by linear interpolation."""
        return [float(value) for value in np.quantile(np.asarray(self.samples, np.float64), QUANTILES)]

    @property
    def thinned(self) -> bool:
        """Whether only some of the samples are drawn."""
        return len(self.samples) > MOST_DOTS


def strips(rows: Sequence[Strip], unit: str) -> str:
    """The strips, with one axis, which is logarithmic if the samples are far apart.

    Args:
        rows: at least one.
        unit: of the samples.
    """
    ends = [end for row in rows for end in (min(row.samples), max(row.samples))]
    # A sample that was rounded to zero has no place on a logarithmic axis.
    scale = fit([end for end in ends if end > 0] or ends, log=True)
    drawn = []
    for row in rows:
        low, q1, median, q3, high, highest = row.quantiles()
        told = (
            f"{len(row.samples):,} samples: median {_number(median)}, quartiles {_number(q1)} and {_number(q3)}, "
            f"5 % below {_number(low)}, 5 % above {_number(high)}, 1 % above {_number(highest)} {unit}"
        )
        drawn.append(Lane(row.series.html, _marks(row, scale), _number(median), row.series.name, told))
    return lanes(drawn, scale, f"{unit}{', logarithmic' if scale.log else ''}")


def _number(value: float) -> str:
    """Four digits or all before the point, never a power of ten."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _marks(row: Strip, scale: Scale) -> str:
    values = sorted(row.samples)
    if row.thinned:
        values = [values[round(place)] for place in np.linspace(0, len(values) - 1, MOST_DOTS)]
    # Neighbours lie at different heights, the same in every drawing.
    heights = [6 + (HEIGHT - 12) * math.modf(number * 0.618034)[0] for number in range(len(values))]
    path = "".join(f"M{10 * scale.percent(value):.0f} {y:.0f}h0" for value, y in zip(values, heights, strict=True))
    low, q1, median, q3, high, highest = (scale.percent(value) for value in row.quantiles())
    colour, middle = row.series.colour, HEIGHT / 2
    ticks = "".join(
        f'<line class="whisker {colour}" x1="{percent(x)}" x2="{percent(x)}" y1="{middle - size}" '
        f'y2="{middle + size}"/>'
        for x, size in ((low, 5), (high, 5), (highest, 3))
    )
    return (
        f'<svg viewBox="0 0 1000 {HEIGHT}" width="100%" height="{HEIGHT}" preserveAspectRatio="none">'
        f'<path class="dots {colour}" d="{path}"/></svg>'
        f'<line class="whisker {colour}" x1="{percent(low)}" x2="{percent(q1)}" y1="{middle}" y2="{middle}"/>'
        f'<line class="whisker {colour}" x1="{percent(q3)}" x2="{percent(high)}" y1="{middle}" y2="{middle}"/>{ticks}'
        f'<rect class="box {colour}" x="{percent(q1)}" y="6" width="{percent(max(q3 - q1, 0.2))}" '
        f'height="{HEIGHT - 12}" rx="2"/>'
        f'<line class="median {colour}" x1="{percent(median)}" x2="{percent(median)}" y1="3" y2="{HEIGHT - 3}"/>'
    )
