"""An evaluation as one file of HTML that needs nothing beside it."""

import os
from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from refinemask import __version__
from refinemask.differences.figures import differences_html
from refinemask.evaluation.average_precision import precision
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.curves import CURVE_NAMES, class_average_precision, precision_recall
from refinemask.evaluation.run import Evaluation
from refinemask.files import atomic_write
from refinemask.page.document import Section, chapter, document
from refinemask.page.lines import Line, lines
from refinemask.page.scales import Scale
from refinemask.page.series import Series, key
from refinemask.page.tables import details, numbers, pairs, table
from refinemask.page.tiles import Tile, tiles
from refinemask.page.viewer import VIEWER_SCRIPT, VIEWER_STYLE
from refinemask.provenance import git_revision

KINDS: dict[IoUType, str] = {"segm": "masks", "boundary": "boundaries", "bbox": "boxes"}
"""Kinds of overlap in the order of the page."""
FOOTER = (
    f"Made by refinemask {__version__}. All figures but IoUs are in points of a hundred. Intervals are of 95 %, by a "
    "bootstrap over images."
)
AXIS = Scale(0.0, 1.0)
LISTED = range(0, 101, 10)
"""Recalls in percent that the tables have."""
MOST_CLASSES = 40
"""Largest number of classes that are seen at once."""
MOST_REASONS = 20
"""Largest number of skipped images that are listed."""


def write_evaluation_page(found: Evaluation, path: str | os.PathLike[str], command: str | None = None) -> None:
    """Write the page, atomically.

    Args:
        found: what was measured.
        path: the file to write.
        command: the command line that measured it; None if a function was called.

    Raises:
        UserError: the file cannot be written.
    """
    title = f"{found.model or found.engine} on {found.images:,} image{'s' * (found.images != 1)}"
    below = f"{' '.join(filter(None, (found.engine, found.precision)))}, {found.metric}"
    body = chapter(title, _sections(found, command), below=below, footer=FOOTER)
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(document(title, body, style=VIEWER_STYLE, script=VIEWER_SCRIPT))


def _sections(found: Evaluation, command: str | None) -> list[Section]:
    curves = {kind: precision(matches) for kind, matches in found.matches.items()}
    return [
        Section("figures", "Figures", _figures(found)),
        Section("curves", "Precision and recall", _curves(curves)),
        Section("classes", "Classes", _classes(found, curves)),
        Section("differences", "Where masks and annotations differ most", _differences(found)),
        Section("provenance", "Provenance", _provenance(found, command)),
    ]


def _kinds(found: Evaluation) -> list[IoUType]:
    return [kind for kind in KINDS if kind in found.figures]


def _points(value: float) -> str:
    """A figure in points of a hundred; a dash if there was no object."""
    return f"{100 * value:.2f}" if value >= 0 else "–"


def _interval(found: Evaluation, kind: IoUType) -> str:
    """The ends of the interval of AP; empty if it has none."""
    ends = found.intervals.get(kind)
    return "" if ends is None else f"{_points(ends[0])} to {_points(ends[1])}"


def _tiles(found: Evaluation) -> str:
    shown = []
    for kind in _kinds(found):
        bounds = _interval(found, kind)
        below = f"95 %: {bounds}" if bounds else "no interval"
        shown.append(Tile(_points(found.figures[kind]["AP"]), f"AP of {KINDS[kind]}", below))
    if "AP50" in found.figures.get("segm", {}):
        shown.append(Tile(_points(found.figures["segm"]["AP50"]), "AP50 of masks"))
    shown.append(Tile(f"{found.images:,}", "images"))
    if found.skipped:
        shown.append(Tile(f"{len(found.skipped):,}", "images left out"))
    return tiles(shown)


def _figures(found: Evaluation) -> str:
    # What no kind of overlap has an object for says nothing.
    known = (found.figures[kind].items() for kind in _kinds(found))
    names = list(dict.fromkeys(name for figures in known for name, value in figures if value >= 0))
    # Rows of figures stay narrow, however many there are.
    rows = [[name, *(_figure(found, kind, name) for kind in _kinds(found))] for name in names]
    return f'{_tiles(found)}<div class="card">{table(["figure", *(KINDS[kind] for kind in _kinds(found))], rows)}</div>'


def _figure(found: Evaluation, kind: IoUType, name: str) -> str:
    bounds = _interval(found, kind) if name == "AP" else ""
    return _points(found.figures[kind].get(name, -1.0)) + (f"<small>{bounds}</small>" if bounds else "")


def _curves(curves: Mapping[IoUType, NDArray[np.float64]]) -> str:
    cards = []
    series: list[Series] = []
    for kind in (kind for kind in KINDS if kind in curves):
        found = precision_recall(curves[kind])
        if not found:
            continue
        series = [Series(number, CURVE_NAMES[name]) for number, name in enumerate(found, 1)]
        recall = [step / 100 for step in range(101)]
        drawn = [Line(each, recall, values) for each, values in zip(series, found.values(), strict=True)]
        chart = lines(drawn, f"Precision against recall of {KINDS[kind]}", ("recall", "precision"), (AXIS, AXIS))
        rows = [[f"{place / 100:.1f}", *(f"{values[place]:.3f}" for values in found.values())] for place in LISTED]
        shown = numbers(["recall", *found], rows)
        cards.append(f'<figure class="card"><h3>{KINDS[kind].capitalize()}</h3>{chart}{shown}</figure>')
    return f'<div class="cards three">{"".join(cards)}</div>{key(series)}' if cards else ""


def _classes(found: Evaluation, curves: Mapping[IoUType, NDArray[np.float64]]) -> str:
    """The classes with objects, the worst masks first; empty if there is but one."""
    kinds = [kind for kind in KINDS if kind in curves]
    if not kinds:
        return ""
    matches = found.matches[kinds[0]]
    objects = np.bincount(matches.object_category, matches.objects[:, 0], len(matches.category_ids)).astype(int)
    columns = [class_average_precision(curves[kind]) for kind in kinds]
    places = sorted(np.flatnonzero(objects).tolist(), key=lambda place: columns[0][place])
    if len(places) < 2:
        return ""
    rows = [
        [
            escape(found.class_names.get(matches.category_ids[place], "")),
            f"{objects[place]:,}",
            *(_points(column[place]) for column in columns),
        ]
        for place in places
    ]
    headings = ["class", "objects", *(f"AP of {KINDS[kind]}" for kind in kinds)]
    html = table(headings, rows[:MOST_CLASSES])
    if len(rows) > MOST_CLASSES:
        html += details(f"{len(rows) - MOST_CLASSES:,} more classes", table(headings, rows[MOST_CLASSES:]))
    return f'<div class="card">{html}</div>'


def _differences(found: Evaluation) -> str:
    return "" if found.pictures is None else differences_html(found.pictures)


def _provenance(found: Evaluation, command: str | None) -> str:
    rows = {
        "command": f"<code>{escape(command)}</code>" if command else "not recorded",
        "model": escape(found.model or "not given"),
        "engine": escape(" ".join(filter(None, (found.engine, found.precision)))),
        **{name: escape(str(value)) for name, value in found.selection.source().items()},
        "metric": found.metric,
        "most detections": f"{found.max_detections:,} per image" + (" and class" if found.metric == "coco" else ""),
        **{f"SHA-256 of the {name}": f"<code>{escape(value)}</code>" for name, value in _hashes(found).items()},
        "refinemask": f"{__version__}, revision {git_revision() or 'unknown'}",
    }
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in found.skipped[:MOST_REASONS])
    if len(found.skipped) > MOST_REASONS:
        reasons += f"<li>and {len(found.skipped) - MOST_REASONS:,} more</li>"
    left_out = details("Images that were left out", f'<ul class="path">{reasons}</ul>') if reasons else ""
    return f'<div class="card">{pairs(rows)}{left_out}</div>'


def _hashes(found: Evaluation) -> dict[str, str]:
    """The hashes among what predictions depend on, which has settings, too."""
    return {name: value for name, value in found.sha256.items() if len(value) == 64}
