"""What the kernels are meant to reach, judged on measured times."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from benchmarks.gpu_suite.cases import BOX_HEAD, MASK_HEAD, NMS_CASES, SEMANTIC, Layout, worst
from benchmarks.gpu_suite.kernel_times import FIXPOINT, PER_LEVEL, TORCHVISION, KernelTime
from benchmarks.gpu_suite.workload import Workload

Times = Mapping[Workload, KernelTime]


@dataclass(frozen=True)
class RivalGoal:
    """A rival takes at least so many times as long as the kernel."""

    workload: Workload
    rival: str
    least: float

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Workloads that must have been timed."""
        return (self.workload,)

    @property
    def name(self) -> str:
        """Name in tables and reports."""
        return f"{self.workload}: {self.rival} / kernel"

    @property
    def wanted(self) -> str:
        """Bound of the ratio, in words."""
        return f"at least {self.least:g}"

    def ratio(self, times: Times) -> float:
        """The rival's median time over the kernel's."""
        time = times[self.workload]
        return time.rivals[self.rival].p50 / time.kernel.p50

    def is_met_by(self, ratio: float) -> bool:
        """Whether the ratio is within the bound."""
        return ratio >= self.least


@dataclass(frozen=True)
class WorstCaseGoal:
    """The worst boxes take the kernel at most so many times as long as the usual ones."""

    worst: Workload
    usual: Workload
    most: float

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Workloads that must have been timed."""
        return (self.worst, self.usual)

    @property
    def name(self) -> str:
        """Name in tables and reports."""
        return f"{self.worst}: against COCO-like boxes"

    @property
    def wanted(self) -> str:
        """Bound of the ratio, in words."""
        return f"at most {self.most:g}"

    def ratio(self, times: Times) -> float:
        """The median time of the worst boxes over that of the usual ones."""
        return times[self.worst].kernel.p50 / times[self.usual].kernel.p50

    def is_met_by(self, ratio: float) -> bool:
        """Whether the ratio is within the bound."""
        return ratio <= self.most


Goal = RivalGoal | WorstCaseGoal
LAYOUTS: tuple[Layout, ...] = ("planar", "channels last")
HALF = torch.float16
GOALS: tuple[Goal, ...] = (
    *(
        RivalGoal(Workload(case, HALF, layout), PER_LEVEL, least=2)
        for case in (BOX_HEAD, MASK_HEAD)
        for layout in LAYOUTS
    ),
    *(
        WorstCaseGoal(Workload(hard, HALF, layout), Workload(case, HALF, layout), most=3)
        for case in SEMANTIC
        for layout in LAYOUTS
        for hard in (worst(case, "full"), worst(case, "large"))
    ),
    *(
        RivalGoal(Workload(case), rival, least)
        for case in NMS_CASES
        for rival, least in ((FIXPOINT, 5.0), (TORCHVISION, 1.0))
    ),
)


@dataclass(frozen=True, kw_only=True)
class GoalReport:
    """What became of a goal."""

    name: str
    wanted: str
    status: Literal["met", "missed", "not run"]
    ratio: float | None = None
    """Ratio of two medians; None if the goal was not run."""
    reason: str | None = None
    """Reason why the goal was not run; None if it was."""


def judge(goals: Sequence[Goal], times: Times, reason: Callable[[Workload], str]) -> tuple[GoalReport, ...]:
    """Judge every goal.

    Args:
        goals: what to reach.
        times: what was timed.
        reason: says why a workload has no time.
    """
    return tuple(_judge(goal, times, reason) for goal in goals)


def _judge(goal: Goal, times: Times, reason: Callable[[Workload], str]) -> GoalReport:
    for workload in goal.workloads:
        if workload not in times:
            return GoalReport(name=goal.name, wanted=goal.wanted, status="not run", reason=reason(workload))
    ratio = goal.ratio(times)
    status: Literal["met", "missed"] = "met" if goal.is_met_by(ratio) else "missed"
    return GoalReport(name=goal.name, wanted=goal.wanted, status=status, ratio=ratio)
