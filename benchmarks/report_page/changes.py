"""What each engine finds better or worse than the first: by size and by class."""

from collections.abc import Sequence
from html import escape

from benchmarks.harness.report import ComparisonReport, EngineReport
from benchmarks.report_page.names import Judged, change_of, change_text, judged_series
from refinemask.page.changes import Change, changes
from refinemask.page.tables import details, table

SIZES = {"APs": "small", "APm": "medium", "APl": "large"}
KINDS = {"bbox": "boxes", "segm": "masks", "boundary": "boundaries"}
SHOWN = 8
"""Number of classes that are drawn of each engine: those that have changed most."""
OPENED = 3
"""Number of engines whose changes are shown at once; those of more are shown on demand."""
MOST_ROWS = 4000
"""Largest number of rows of all engines' tables of classes together, which keeps the page small."""
LEAST = 1.0
"""Smallest end of an axis, in points of AP."""

LEAST_SEEN = 0.005
"""Smallest change, in points of AP, that two decimals show."""
SAME = '<p class="soft">No AP of a size or a class changes by as much as 0.01 points.</p>'


def size_and_class_changes(report: ComparisonReport) -> str:
    """A card for each engine and detector after the first; empty without accuracy or for one alone."""
    first, others = report.engines[0], judged_series(report)[1:]
    parts = []
    for series, judged in others:
        sizes, classes = by_size(judged, first), by_class(judged, first)
        if sizes or classes:
            heading = f"<h3>{series.html}</h3>"
            html = SAME
            if any(abs(row.value) >= LEAST_SEEN for row in (*sizes, *classes)):
                # A single class is all that there is.
                html = _sizes(sizes) + _classes(classes if len(classes) > 1 else [], MOST_ROWS // len(others))
            parts.append((series.name, heading, html))
    if not parts:
        return ""
    cards = [f'<div class="card">{heading}{html}</div>' for _, heading, html in parts[:OPENED]]
    more = [details(name, f'<div class="card">{heading}{html}</div>') for name, heading, html in parts[OPENED:]]
    return f'<div class="cards">{"".join(cards)}</div>{"".join(more)}'


def by_size(engine: Judged, first: EngineReport) -> list[Change]:
    """Changes of the AP of each size, of boxes, masks and boundaries."""
    found = []
    for kind, what in KINDS.items():
        for figure, size in SIZES.items():
            change = change_of(engine, first, kind, figure)
            if change is not None:
                found.append(Change(f"{what}, {size}", 100 * change, change_text(change)))
    return found


def by_class(engine: Judged, first: EngineReport) -> list[Change]:
    """Changes of the classes' mask AP, the largest first; classes without objects are left out."""
    if engine.detail is None or first.detail is None:
        return []
    values, baselines = (detail.per_class.get("segm", {}) for detail in (engine.detail, first.detail))
    found = [
        Change(name, 100 * (value - baselines[name]), change_text(value - baselines[name]))
        for name, value in values.items()
        if value >= 0 and baselines.get(name, -1.0) >= 0
    ]
    return sorted(found, key=lambda change: (-abs(change.value), change.name))


def _sizes(rows: Sequence[Change]) -> str:
    if not rows:
        return ""
    return f'<figure><p class="soft">By size of the objects</p>{changes(rows, "points of AP", least=LEAST)}</figure>'


def _classes(rows: Sequence[Change], most: int) -> str:
    if not rows:
        return ""
    title = "By class, masks" if len(rows) <= SHOWN else f"By class, masks: the largest of {len(rows):,} changes"
    drawn = changes(rows[:SHOWN], "points of AP", least=LEAST)
    html = f'<figure><p class="soft">{title}</p>{drawn}</figure>'
    if len(rows) <= SHOWN:
        return html
    listed = rows[: max(most, SHOWN)]
    left = len(rows) - len(listed)
    left_out = f'<p class="caption">The JSON has {left:,} more, which changed less.</p>' if left else ""
    names = table(["class", "change of mask AP"], [[escape(row.name), row.text] for row in listed])
    return html + details(f"{len(listed):,} classes as a table", names + left_out)
