"""Whether the engines met what was required of them (``--require``)."""

from html import escape

from benchmarks.harness.report import ComparisonReport
from refinemask.page.series import breakable
from refinemask.page.tables import table

UNKNOWN = "–"


def requirements(report: ComparisonReport) -> str:
    """How many were met, and each with its figure and what was judged, those that were not met first; empty without
    requirements."""
    outcomes = report.requirements or ()
    if not outcomes:
        return ""
    failed = sum(not outcome.met for outcome in outcomes)
    kind, sentence = ("failed", _failed(failed, len(outcomes))) if failed else ("passed", _passed(len(outcomes)))
    reasons = any(outcome.reason for outcome in outcomes)
    rows = [
        [
            f'<span class="level {"met" if outcome.met else "stops"}">{"met" if outcome.met else "not met"}</span>',
            f"<code>{escape(outcome.requirement)}</code>",
            breakable(outcome.engine),
            *([escape(outcome.reason or "")] if reasons else []),
            _number(outcome.value),
            _number(outcome.judged),
        ]
        for outcome in sorted(outcomes, key=lambda outcome: outcome.met)
    ]
    headings = ["", "requirement", "engine", *(["why not"] if reasons else []), "figure", "judged by"]
    html = table(headings, rows, texts=len(headings) - 2)
    note = (
        '<p class="caption">A figure with an interval is judged by the worse end of it, others by themselves. '
        "Average precisions are in points of a hundred.</p>"
    )
    return f'<p class="verdict {kind}">{sentence}</p><div class="card">{html}{note}</div>'


def _failed(failed: int, number: int) -> str:
    return f"{failed:,} of {number:,} requirements {'is' if failed == 1 else 'are'} not met."


def _passed(number: int) -> str:
    return "The requirement is met." if number == 1 else f"All {number:,} requirements are met."


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}".replace("-", "−")
