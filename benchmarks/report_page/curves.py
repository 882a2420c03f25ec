"""Precision against recall, one curve for each engine."""

from collections.abc import Sequence

from benchmarks.harness.report import EngineReport
from refinemask.page.lines import Line, lines
from refinemask.page.scales import Scale
from refinemask.page.series import Series, key
from refinemask.page.tables import details, numbers

KINDS = {"segm": "masks", "bbox": "boxes", "boundary": "boundaries"}
NAMES = {"AP": "mean over all IoU thresholds", "AP50": "IoU 0.50", "AP75": "IoU 0.75"}
AXIS = Scale(0.0, 1.0)
LISTED = range(0, 101, 10)
"""Recalls in percent that the tables have."""


def precision_recall(engines: Sequence[EngineReport], series: Sequence[Series]) -> str:
    """The curves of masks, and those of boxes and boundaries on demand; empty if the report has none."""
    parts = {name: _curves(engines, series, kind) for kind, name in KINDS.items()}
    found = [(name, html) for name, html in parts.items() if html]
    if not found:
        return ""
    (name, first), *others = found
    more = "".join(details(f"Curves of {name}", html) for name, html in others)
    drawn = [each for each, engine in zip(series, engines, strict=True) if engine.detail]
    return f'<p class="soft">Curves of {name}.</p>{first}{key(drawn)}{more}'


def _curves(engines: Sequence[EngineReport], series: Sequence[Series], kind: str) -> str:
    curves: dict[str, list[Line]] = {}
    for each, engine in zip(series, engines, strict=True):
        for name, precision in (engine.detail.precision_recall.get(kind, {}) if engine.detail else {}).items():
            recall = [step / (len(precision) - 1) for step in range(len(precision))]
            # Without objects there is no precision, which is -1.
            if len(precision) > 1 and min(precision) >= 0:
                curves.setdefault(name, []).append(Line(each, recall, precision))
    ranked = sorted(curves, key=lambda name: list(NAMES).index(name) if name in NAMES else len(NAMES))
    cards = [_card(f"{KINDS[kind].capitalize()}, {NAMES.get(name, name)}", curves[name]) for name in ranked]
    return f'<div class="cards three">{"".join(cards)}</div>' if cards else ""


def _card(title: str, curves: Sequence[Line]) -> str:
    drawn = lines(curves, f"Precision against recall: {title}", ("recall", "precision"), (AXIS, AXIS))
    rows = [
        [curve.series.html, *(f"{curve.y[place]:.3f}" for place in LISTED if place < len(curve.y))] for curve in curves
    ]
    headings = ["recall", *(f"{place / 100:.1f}" for place in LISTED if place < len(curves[0].y))]
    # The recalls of a table in a narrow card stand below one another.
    flipped = [[headings[place], *(row[place] for row in rows)] for place in range(1, len(headings))]
    table = numbers(["recall", *(f"{curve.series.number}" for curve in curves)], flipped)
    return f'<figure class="card"><h3>{title}</h3>{drawn}{table}</figure>'
