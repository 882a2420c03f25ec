"""An evaluation as tables for a terminal."""

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from refinemask.evaluation.metrics import METRICS
from refinemask.evaluation.run import Evaluation
from refinemask.exit_codes import printable

SHOWN_REASONS = 10
"""Largest number of skipped images whose reason is printed."""
NAMES: dict[str, str] = {"bbox": "box", "segm": "mask", "boundary": "boundary"}
"""Kinds of overlap, as tables call them."""


def print_evaluation(found: Evaluation) -> None:
    """Print precisions and recalls on standard output, and why images were skipped on standard error."""
    for reason in found.skipped[:SHOWN_REASONS]:
        print(f"skipped: {printable(reason)}", file=sys.stderr)
    if len(found.skipped) > SHOWN_REASONS:
        print(f"skipped: and {len(found.skipped) - SHOWN_REASONS} more", file=sys.stderr)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(_heading(found))
    # Both in one do not fit a terminal of 80 columns.
    console.print(_table(found, "AP"), _table(found, "AR"), sep="\n")
    for line in _remarks(found):
        console.print(line, soft_wrap=True)


def _heading(found: Evaluation) -> str:
    engine = " ".join(filter(None, (found.engine, found.precision)))
    heading = f"{found.model} · {engine} · {found.metric} · {found.images} images"
    heading += "".join(f" · {name} {value}" for name, value in found.selection.source().items())
    return f"{heading}, {len(found.skipped)} skipped and not counted" if found.skipped else heading


def _table(found: Evaluation, figure: str) -> Table:
    names = [name for name in next(iter(found.figures.values())) if name.startswith(figure)]
    table = Table("", *names)
    for iou_type, figures in found.figures.items():
        cells = (f"{100 * figures[name]:.1f}" if figures[name] >= 0 else "–" for name in names)
        table.add_row(NAMES[iou_type], *cells)
    return table


def _remarks(found: Evaluation) -> Iterator[str]:
    if all(value < 0 for figures in found.figures.values() for value in figures.values()):
        yield "nothing to measure: no object of these images counts; crowds (iscrowd 1) and objects left out do not"
    if found.intervals:
        ends = (f"{NAMES[kind]} {100 * low:.1f}…{100 * high:.1f}" for kind, (low, high) in found.intervals.items())
        yield f"95 % interval of AP over images: {', '.join(ends)}"
    per = "image" if METRICS[found.metric].fixed_max_detections else "image and class"
    yield f"at most {found.max_detections} detections per {per}"
