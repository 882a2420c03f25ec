"""Precision against recall, one curve for each engine."""

from collections.abc import Sequence

from benchmarks.report_page.names import Judged
from refinemask.evaluation.curves import CURVE_NAMES
from refinemask.page.lines import Line, lines
from refinemask.page.scales import Scale
from refinemask.page.series import Series, key
from refinemask.page.tables import details, numbers

KINDS = {"segm": "masks", "bbox": "boxes", "boundary": "boundaries"}
ORDER = ("AP", "AP50", "AP75")
AXIS = Scale(0.0, 1.0)
RECALLS = 101
"""Number of recalls from 0 to 1 that a curve has."""
STEP = 10
"""The table has one recall out of so many."""


def precision_recall(judged: Sequence[tuple[Series, Judged]]) -> str:
    """The curves of masks, and those of boxes and boundaries on demand; empty if the report has none."""
    parts = {name: _curves(judged, kind) for kind, name in KINDS.items()}
    found = [(name, html) for name, html in parts.items() if html]
    if not found:
        return ""
    (name, first), *others = found
    more = "".join(details(f"Curves of {name}", html) for name, html in others)
    drawn = [series for series, each in judged if each.detail]
    return f'<p class="soft">Curves of {name}.</p>{first}{key(drawn)}{more}'


def _curves(judged: Sequence[tuple[Series, Judged]], kind: str) -> str:
    curves: dict[str, list[Line]] = {}
    for series, each in judged:
        for name, precision in (each.detail.precision_recall.get(kind, {}) if each.detail else {}).items():
            recall = [step / (RECALLS - 1) for step in range(RECALLS)]
            # Without objects there is no precision, which is -1.
            if len(precision) == RECALLS and min(precision) >= 0:
                curves.setdefault(name, []).append(Line(series, recall, precision))
    ranked = sorted(curves, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    if not ranked:
        return ""
    cards = [_card(f"{KINDS[kind].capitalize()}, {CURVE_NAMES.get(name, name)}", curves[name]) for name in ranked]
    rows = [
        [f"{CURVE_NAMES.get(name, name)} {curve.series.html}", *(f"{value:.3f}" for value in curve.y[::STEP])]
        for name in ranked
        for curve in curves[name]
    ]
    recalls = [f"{value:.1f}" for value in curves[ranked[0]][0].x[::STEP]]
    return f'<div class="cards three">{"".join(cards)}</div>{numbers(["precision at recall", *recalls], rows)}'


def _card(title: str, curves: Sequence[Line]) -> str:
    drawn = lines(curves, f"Precision against recall: {title}", ("recall", "precision"), (AXIS, AXIS))
    return f'<figure class="card"><h3>{title}</h3>{drawn}</figure>'
