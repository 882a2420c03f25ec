"""A chart of figures with their intervals, one below the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from refinemask.page.lanes import HEIGHT, Lane, lanes, percent
from refinemask.page.scales import Scale, fit
from refinemask.page.series import Series


@dataclass(frozen=True)
class Interval:
    """A figure of a series."""

    series: Series
    value: float
    text: str
    """The figure as plain text."""
    bounds: str = ""
    """Its interval as plain text; empty if it is not known."""
    low: float | None = None
    """The interval's ends; None if it is not known."""
    high: float | None = None
    stated: bool = False
    """Whether it was stated, not measured: its mark is dashed."""

    @property
    def values(self) -> list[float]:
        """The figure, and the ends that are known."""
        return [value for value in (self.low, self.value, self.high) if value is not None]

    @property
    def told(self) -> str:
        """The figure and its interval as plain text."""
        return f"{self.text} ({self.bounds})" if self.bounds else self.text

    @property
    def html(self) -> str:
        """The figure, and its interval below."""
        return escape(self.text) + (f"<small>{escape(self.bounds)}</small>" if self.bounds else "")


def intervals(figures: Sequence[Interval], unit: str, *, zero: float, least: float = 0.0, log: bool = False) -> str:
    """Dots, with a whisker over each interval.

    Args:
        figures: at least one.
        unit: what the axis counts.
        zero: where there is no difference, which is always on the axis.
        least: smallest length of the axis.
        log: whether the axis may be logarithmic.
    """
    scale = fit([zero, *(value for each in figures for value in each.values)], log=log, least=least)
    rows = [
        Lane(each.series.html, _marks(each, scale), each.html, f"{each.series.name}: {each.told}", unit)
        for each in figures
    ]
    return lanes(rows, scale, unit, zero=zero)


def _marks(each: Interval, scale: Scale) -> str:
    middle = HEIGHT / 2
    whisker = ""
    if each.low is not None and each.high is not None:
        low, high = (percent(scale.percent(end)) for end in (each.low, each.high))
        whisker = f'<line class="whisker {each.series.colour}" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
        whisker += "".join(
            f'<line class="whisker {each.series.colour}" x1="{x}" x2="{x}" y1="{middle - 5}" y2="{middle + 5}"/>'
            for x in (low, high)
        )
    kind = "ring stated" if each.stated else "dot"
    x = percent(scale.percent(each.value))
    return f'{whisker}<circle class="{kind} {each.series.colour}" cx="{x}" cy="{middle}" r="5"/>'
