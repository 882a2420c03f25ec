"""What became of a goal."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["reached", "missed", "not run"]


@dataclass(frozen=True, kw_only=True)
class GoalReport:
    """A goal, judged."""

    name: str
    wanted: str
    """Bound of the figure, in words."""
    status: Status
    figure: float | None = None
    """Measured figure; None if the goal was not run."""
    reason: str | None = None
    """Reason why the goal was not run; None if it was."""
