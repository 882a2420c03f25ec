"""Curves in a plane, one for each series."""

from collections.abc import Sequence
from dataclasses import dataclass

from refinemask.page.plane import down, plane
from refinemask.page.scales import Scale
from refinemask.page.series import Series

HEIGHT = 220


@dataclass(frozen=True)
class Line:
    """A curve; x and y are of one length."""

    series: Series
    x: Sequence[float]
    y: Sequence[float]


def lines(curves: Sequence[Line], title: str, units: tuple[str, str], axes: tuple[Scale, Scale]) -> str:
    """The curves; the first lies above the others.

    Args:
        curves: at least one.
        title: what is shown, as plain text.
        units: what the axes count, to the right and upwards.
        axes: both axes.
    """
    x, y = axes
    drawn = []
    for curve in reversed(curves):
        points = " ".join(
            f"{10 * x.percent(a):.0f},{down(y, b, HEIGHT):.1f}" for a, b in zip(curve.x, curve.y, strict=True)
        )
        drawn.append(f'<polyline class="curve {curve.series.colour} {curve.series.dash}" points="{points}"/>')
    # Only the curves are stretched to the width: their strokes are not.
    marks = (
        f'<svg viewBox="0 0 1000 {HEIGHT}" width="100%" height="{HEIGHT}" preserveAspectRatio="none">'
        f"{''.join(drawn)}</svg>"
    )
    names = ", ".join(curve.series.name for curve in curves)
    return plane(x, y, units, HEIGHT, marks, (title, f"A curve for each of {names}"))
