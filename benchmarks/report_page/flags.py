"""What a reader should know before believing the figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.harness.device_state import disturbance
from benchmarks.harness.load import BUSY_FRACTION
from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.requirement import finding
from refinemask.page.tables import details

LEVELS = {"failed": "not met", "stops": "do not trust", "look": "look", "note": "note"}
FEW_ROUNDS = 6
"""Number of rounds from which a speed-up has an interval."""
MOST_NAMES = 500
"""Largest number of names that are listed."""


@dataclass(frozen=True)
class Flag:
    """One of them."""

    level: str
    """``failed``, ``stops``, ``look`` or ``note``."""
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
        return '<div class="card">Nothing stood out: no foreign load, no image left out.</div>'
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
    return [*_requirements(report), *_load(report), *_throttling(report), *_skipped(report), *_intervals(report)]


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


def _throttling(report: ComparisonReport) -> list[Flag]:
    """What was odd about the GPU's clock, if its state was recorded."""
    told = disturbance([each.state for each in report.rounds if each.state is not None])
    return [Flag("stops", f"The GPU {told}. Cool it or fix its clock, and measure again.")] if told else []


def _requirements(report: ComparisonReport) -> list[Flag]:
    """Each requirement that an engine did not meet, and how many were met."""
    outcomes = report.requirements or ()
    failed = [outcome for outcome in outcomes if not outcome.met]
    found = [Flag("failed", f"Required: {outcome.requirement}. {finding(outcome)}.") for outcome in failed]
    if outcomes and not failed:
        asked = dict.fromkeys(outcome.requirement for outcome in outcomes)
        found.append(Flag("note", f"All that was required is met: {'; '.join(asked)}."))
    return found


def _skipped(report: ComparisonReport) -> list[Flag]:
    if not report.skipped:
        return []
    noun = "image was" if len(report.skipped) == 1 else "images were"
    text = f"{len(report.skipped):,} {noun} left out of every figure: unreadable, or not as annotated."
    return [Flag("look", text, report.skipped, "images" if len(report.skipped) > 1 else "image")]


def _intervals(report: ComparisonReport) -> list[Flag]:
    found = []
    others = report.engines[1:]
    if others and any(engine.speedup.low is None for engine in others):
        why = f"fewer than {FEW_ROUNDS} rounds" if len(report.rounds) < FEW_ROUNDS else "an older version wrote it"
        found.append(Flag("note", f"The speed-ups have no interval: {why}."))
    if any(engine.accuracy and engine.detail is None for engine in report.engines):
        found.append(Flag("note", "AP has no interval, no curves and no classes: the report does not hold them."))
    return found
