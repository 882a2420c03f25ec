"""Points in a plane with their intervals in both directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from refinemask.page.intervals import Interval
from refinemask.page.lanes import percent
from refinemask.page.plane import down, plane
from refinemask.page.scales import Scale, fit

HEIGHT = 300


@dataclass(frozen=True)
class Point:
    """A series in the plane; both figures are of the same series."""

    x: Interval
    y: Interval


def scatter(points: Sequence[Point], title: str, units: tuple[str, str], *, least: float) -> str:
    """Numbered points.

    Args:
        points: at least one.
        title: what is shown, as plain text.
        units: what the axes count, to the right and upwards.
        least: smallest length of the upward axis, so that trifles do not look large.
    """
    x = fit((value for point in points for value in point.x.values), log=True, least=0.5, room=0.08)
    y = fit((value for point in points for value in point.y.values), least=least, room=0.12)
    # The intervals lie below all numbers.
    bars = "".join(_bars(point, x, y) for point in points)
    dots = "".join(_dot(point, x, y) for point in points)
    told = "; ".join(f"{point.x.series.name}: {point.x.told} and {point.y.told}" for point in points)
    right = f"{units[0]}{', logarithmic' if x.log else ''}"
    return plane(x, y, (right, units[1]), HEIGHT, bars + dots, (title, told))


def _bars(point: Point, x: Scale, y: Scale) -> str:
    colour, lines = point.x.series.colour, []
    across, high = percent(x.percent(point.x.value)), f"{down(y, point.y.value, HEIGHT):.1f}"
    if point.x.low is not None and point.x.high is not None:
        ends = (percent(x.percent(end)) for end in (point.x.low, point.x.high))
        lines.append('<line class="whisker {}" x1="{}" x2="{}" y1="{}" y2="{}"/>'.format(colour, *ends, high, high))
    if point.y.low is not None and point.y.high is not None:
        heights = (f"{down(y, end, HEIGHT):.1f}" for end in (point.y.low, point.y.high))
        lines.append(
            '<line class="whisker {}" x1="{}" x2="{}" y1="{}" y2="{}"/>'.format(colour, across, across, *heights)
        )
    return "".join(lines)


def _dot(point: Point, x: Scale, y: Scale) -> str:
    across, high = percent(x.percent(point.x.value)), down(y, point.y.value, HEIGHT)
    series, kind = point.x.series, "ring stated" if point.x.stated or point.y.stated else "ring"
    return (
        f"<g><title>{escape(series.name)}: {escape(point.x.told)}, {escape(point.y.told)}</title>"
        f'<circle class="{kind} {series.colour}" cx="{across}" cy="{high:.1f}" r="10"/>'
        f'<text class="number" x="{across}" y="{high:.1f}" dy=".35em" text-anchor="middle">{series.number}</text></g>'
    )
