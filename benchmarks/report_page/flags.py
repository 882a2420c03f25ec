"""What a reader should know before believing the figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.harness.device_state import disturbance
from benchmarks.harness.load import BUSY_FRACTION
from benchmarks.harness.report import ComparisonReport
from refinemask.page.tables import details

LEVELS = {"stops": "do not trust", "look": "look", "note": "note"}
FEW_ROUNDS = 6
"""Number of rounds from which a speed-up has an interval."""
MOST_NAMES = 500
"""Largest number of names that are listed."""


@dataclass(frozen=True)
class Flag:
    """One of them."""

    level: str
    """``stops``, ``look`` or ``note``."""
    text: str
    names: tuple[str, ...] = ()
    """What it is about, such as rounds or images."""
    kind: str = ""
    """What the names are."""


def flags(reports: Sequence[ComparisonReport]) -> str:
    """The flags of measurements."""
    found = [flag for report in reports for flag in _flags(report)]
    found = list(dict.fromkeys(found))
    if not found:
        return '<div class="card">Nothing stood out: no foreign load, no image left out, no GPU slowed down.</div>'
    return f'<div class="card flags">{"".join(map(_row, found))}</div>'


def _row(flag: Flag) -> str:
    shown = flag.names[:MOST_NAMES]
    more = f" and {len(flag.names) - len(shown):,} more" if len(flag.names) > len(shown) else ""
    names = (
        details(f"{len(flag.names):,} {flag.kind}", f'<p class="path soft">{escape(", ".join(shown))}{more}</p>')
        if shown
        else ""
    )
    return (
        f'<div class="flag"><span class="level {flag.level}">{LEVELS[flag.level]}</span>'
        f"<div>{escape(flag.text)}{names}</div></div>"
    )


def _flags(report: ComparisonReport) -> list[Flag]:
    return [*_load(report), *throttling(report), *_skipped(report), *_without_results(report), *_intervals(report)]


def _load(report: ComparisonReport) -> list[Flag]:
    found = []
    if report.foreign_load is None:
        found.append(Flag("look", "How busy other programs kept the CPUs is unknown: the system does not tell."))
    elif report.foreign_load > BUSY_FRACTION:
        text = f"Other programs used {report.foreign_load:.1%} of the CPUs meanwhile. Measure again on a quiet machine."
        found.append(Flag("stops", text))
    busy = [
        f"round {number} ({each.foreign_load:.0%})"
        for number, each in enumerate(report.rounds, 1)
        if each.foreign_load is not None and each.foreign_load > BUSY_FRACTION
    ]
    if busy:
        rounds = f"{len(busy):,} of {len(report.rounds):,} rounds"
        text = f"In {rounds} other programs used more than {BUSY_FRACTION:.0%} of the CPUs."
        found.append(Flag("look", text, tuple(busy), "rounds"))
    return found


def throttling(report: ComparisonReport) -> list[Flag]:
    """What has slowed a GPU down, and in which rounds; none where no driver tells."""
    slowed = disturbance([each.state for each in report.rounds if each.state])
    if slowed is None:
        return []
    rounds = tuple(
        f"round {number} ({', '.join(each.state.throttling)})"
        for number, each in enumerate(report.rounds, 1)
        if each.state is not None and each.state.throttling
    )
    return [Flag("stops", f"The GPU {slowed}: measure again when it is cool and idle.", rounds, "rounds")]


def _skipped(report: ComparisonReport) -> list[Flag]:
    if not report.skipped:
        return []
    noun = "image was" if len(report.skipped) == 1 else "images were"
    text = f"{len(report.skipped):,} {noun} left out of every figure: unreadable, or not as annotated."
    return [Flag("look", text, report.skipped, "images" if len(report.skipped) > 1 else "image")]


def _without_results(report: ComparisonReport) -> list[Flag]:
    return [
        Flag(
            "look",
            f"{other.name} has no result for {other.images_without_results:,} of {report.images:,} images: nothing was "
            "found there, or they were not looked at.",
        )
        for other in report.others or ()
        if other.images_without_results
    ]


def _intervals(report: ComparisonReport) -> list[Flag]:
    found = []
    others = report.engines[1:]
    if others and any(engine.speedup.low is None for engine in others):
        why = f"fewer than {FEW_ROUNDS} rounds" if len(report.rounds) < FEW_ROUNDS else "an older version wrote it"
        found.append(Flag("note", f"The speed-ups have no interval: {why}."))
    if any(engine.accuracy and engine.detail is None for engine in report.engines):
        found.append(Flag("note", "AP has no interval, no curves and no classes: the report does not hold them."))
    return found
