"""What the kernels are to reach against their rivals."""

from functools import partial

import torch

from benchmarks.gpu_suite.cases import BOX_HEAD, CANDIDATES, MASK_HEAD, NMS_CASES, PROPOSALS_CASES, TOP_K_CASES, Layout
from benchmarks.gpu_suite.goals import Goal, NotMeasuredError
from benchmarks.gpu_suite.kernel_times import CHAIN, FIXPOINT, PER_LEVEL, TORCH, TORCHVISION, KernelTime
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.gpu_suite.workload import Workload

PART = "kernel-times"
LAYOUTS: tuple[Layout, ...] = ("planar", "channels last")


def kernel_time(report: GpuReport, workload: Workload) -> KernelTime:
    """The time of a workload.

    Raises:
        NotMeasuredError: there is none.
    """
    times = report.kernel_times.times if report.kernel_times else {}
    if workload not in times:
        raise NotMeasuredError(f"{workload} was not timed")
    return times[workload]


def rival_goal(workload: Workload, rival: str, least: float) -> Goal:
    """A rival takes at least so many times as long as the kernel, by their medians."""
    return Goal(
        name=f"{workload}: {rival} / kernel",
        figure=partial(_ratio, workload, rival),
        parts=(PART, f"{PART}: {workload.part}"),
        least=least,
    )


def _ratio(workload: Workload, rival: str, report: GpuReport) -> float:
    time = kernel_time(report, workload)
    return time.rivals[rival].p50 / time.kernel.p50


KERNEL_GOALS = (
    *(
        rival_goal(Workload(case, torch.float16, layout), PER_LEVEL, least=2)
        for case in (BOX_HEAD, MASK_HEAD)
        for layout in LAYOUTS
    ),
    *(
        rival_goal(Workload(case), rival, least)
        for case in NMS_CASES
        for rival, least in ((FIXPOINT, 5.0), (TORCHVISION, 1.0))
    ),
    *(rival_goal(Workload(case), TORCH, least=1) for case in TOP_K_CASES if case.k == CANDIDATES),
    *(rival_goal(Workload(case, torch.float16, "channels last"), CHAIN, least=2) for case in PROPOSALS_CASES),
)
