"""What the suite is to reach: every goal is a bound of a figure that is computed from the report's own data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.gpu_suite.context import Outcome
from benchmarks.gpu_suite.goal_report import GoalReport, Status
from benchmarks.gpu_suite.report import GpuReport


class NotMeasuredError(Exception):
    """A figure that the report does not have."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound of one figure."""

    name: str
    figure: Callable[[GpuReport], float]
    """Function that computes the figure; it raises ``NotMeasuredError`` where the report does not have it."""
    parts: tuple[str, ...]
    """Parts, or ``part: step``, that the figure comes from: how they ended is the reason for a missing figure."""
    least: float | None = None
    """Least figure that reaches the goal; None if it has an upper bound."""
    most: float | None = None
    """Largest figure that reaches the goal; None if it has a lower bound."""
    unit: str = ""

    @property
    def wanted(self) -> str:
        """Bound of the figure, in words."""
        bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{bound} {self.unit}".rstrip()

    def is_reached_by(self, figure: float) -> bool:
        """Whether the figure is within the bound; what is no number is not."""
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)


def judge(goals: Iterable[Goal], report: GpuReport) -> tuple[GoalReport, ...]:
    """Judge every goal on a report."""
    return tuple(_judge(goal, report) for goal in goals)


def _judge(goal: Goal, report: GpuReport) -> GoalReport:
    try:
        if report.device != "cuda" or report.tiny:
            raise NotMeasuredError("goals are about full sizes on a GPU")
        figure = goal.figure(report)
    except NotMeasuredError as error:
        reason = _reason(goal.parts, report.outcomes) or str(error)
        return GoalReport(name=goal.name, wanted=goal.wanted, status="not run", reason=reason)
    status: Status = "reached" if goal.is_reached_by(figure) else "missed"
    return GoalReport(name=goal.name, wanted=goal.wanted, status=status, figure=figure)


def _reason(parts: Iterable[str], outcomes: Iterable[Outcome]) -> str | None:
    """The reason of the first of these parts that is not done; None if all are."""
    ended = {outcome.name: outcome for outcome in outcomes}
    found = (ended[part] for part in parts if part in ended)
    return next((outcome.reason for outcome in found if outcome.status != "done"), None)
