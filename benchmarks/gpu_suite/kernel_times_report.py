"""The kernels' times on every workload, as a part of the suite."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from benchmarks.gpu_suite import kernel_times
from benchmarks.gpu_suite.cases import (
    LABEL_LOGITS_CASES,
    MERGE_CASES,
    NMS_CASES,
    PROPOSALS_CASES,
    ROI_ALIGN_CASES,
    TOP_K_CASES,
    LabelLogitsCase,
    Layout,
    MergeCase,
    NMSCase,
    ProposalsCase,
    RoIAlignCase,
    TopKCase,
)
from benchmarks.gpu_suite.context import Context
from benchmarks.gpu_suite.kernel_times import KernelTime, Timed
from benchmarks.gpu_suite.tiny import (
    TINY_LABEL_LOGITS_CASES,
    TINY_MERGE_CASES,
    TINY_NMS_CASES,
    TINY_PROPOSALS_CASES,
    TINY_ROI_ALIGN_CASES,
    TINY_TOP_K_CASES,
)
from benchmarks.gpu_suite.workload import TimingPart, Workload, dtype_name

DTYPES = (torch.float16, torch.float32)


@dataclass(frozen=True)
class RoIAlignTime:
    """RoIAlign on one workload."""

    case: RoIAlignCase
    dtype: str
    """Name of the maps' type, such as ``float16``."""
    layout: Layout
    time: KernelTime


@dataclass(frozen=True)
class NMSTime:
    """NMS on one workload."""

    case: NMSCase
    time: KernelTime


@dataclass(frozen=True)
class TopKTime:
    """The selection of the best scores on one workload."""

    case: TopKCase
    time: KernelTime


@dataclass(frozen=True)
class MergeTime:
    """The merge on one workload."""

    case: MergeCase
    time: KernelTime


@dataclass(frozen=True)
class ProposalsTime:
    """The selection of proposals on one workload."""

    case: ProposalsCase
    dtype: str
    """Name of the maps' type, such as ``float16``."""
    layout: Layout
    time: KernelTime


@dataclass(frozen=True)
class LabelLogitsTime:
    """The logits of the labels on one workload."""

    case: LabelLogitsCase
    dtype: str
    """Name of the features' type, such as ``float16``."""
    layout: Layout
    time: KernelTime


@dataclass(frozen=True, kw_only=True)
class KernelTimesReport:
    """Times of the kernels beside their rivals."""

    roi_align: tuple[RoIAlignTime, ...] = ()
    nms: tuple[NMSTime, ...] = ()
    top_k: tuple[TopKTime, ...] = ()
    merge: tuple[MergeTime, ...] = ()
    proposals: tuple[ProposalsTime, ...] = ()
    label_logits: tuple[LabelLogitsTime, ...] = ()

    @property
    def times(self) -> dict[Workload, KernelTime]:
        """All times by workload."""
        of_maps: tuple[RoIAlignTime | ProposalsTime | LabelLogitsTime, ...] = (
            *self.roi_align,
            *self.proposals,
            *self.label_logits,
        )
        return {
            **{Workload(each.case, getattr(torch, each.dtype), each.layout): each.time for each in of_maps},
            **{Workload(each.case): each.time for each in self.nms},
            **{Workload(each.case): each.time for each in self.top_k},
            **{Workload(each.case): each.time for each in self.merge},
        }

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        ratios = [
            min(rival.p50 for rival in time.rivals.values()) / time.kernel.p50
            for time in self.times.values()
            if time.rivals
        ]
        if not ratios:
            return "nothing was timed"
        return f"{len(ratios)} workloads; the fastest rival takes {min(ratios):.2f} to {max(ratios):.2f} times as long"


def run_kernel_times(context: Context) -> KernelTimesReport:
    """Time every kernel; what was timed before an error is kept.

    Raises:
        NotRunError: there are no kernels here.
    """
    kernels, timer, device = context.kernels(), context.timer(), context.device
    roi_align, nms, top_k, merge, proposals, label_logits = (
        (
            TINY_ROI_ALIGN_CASES,
            TINY_NMS_CASES,
            TINY_TOP_K_CASES,
            TINY_MERGE_CASES,
            TINY_PROPOSALS_CASES,
            TINY_LABEL_LOGITS_CASES,
        )
        if context.tiny
        else (ROI_ALIGN_CASES, NMS_CASES, TOP_K_CASES, MERGE_CASES, PROPOSALS_CASES, LABEL_LOGITS_CASES)
    )
    times: dict[Workload, KernelTime] = {}

    def time(part: TimingPart, timed: Iterable[Timed]) -> None:
        # One by one, so that what was timed before an error is kept.
        context.attempt(str(part), lambda: times.update(timed))
        context.keep(_report(times))

    for dtype in DTYPES:
        timed = kernel_times.time_roi_align(kernels, timer, device, dtype, roi_align)
        time(TimingPart("RoIAlign", dtype), timed)
    time(TimingPart("NMS"), kernel_times.time_nms(kernels, timer, device, nms))
    time(TimingPart("top-k"), kernel_times.time_top_k(kernels, timer, device, top_k))
    time(TimingPart("merge"), kernel_times.time_merge(kernels, timer, device, merge))
    for dtype in DTYPES:
        timed = kernel_times.time_proposals(kernels, timer, device, dtype, proposals)
        time(TimingPart("proposals", dtype), timed)
        timed = kernel_times.time_label_logits(kernels, timer, device, dtype, label_logits)
        time(TimingPart("label logits", dtype), timed)
    return _report(times)


def _report(times: Mapping[Workload, KernelTime]) -> KernelTimesReport:
    items = [(workload, workload.case, time) for workload, time in times.items()]
    return KernelTimesReport(
        roi_align=tuple(
            RoIAlignTime(case, dtype_name(workload.dtype), workload.layout, time)
            for workload, case, time in items
            if isinstance(case, RoIAlignCase) and workload.dtype and workload.layout
        ),
        nms=tuple(NMSTime(case, time) for _, case, time in items if isinstance(case, NMSCase)),
        top_k=tuple(TopKTime(case, time) for _, case, time in items if isinstance(case, TopKCase)),
        merge=tuple(MergeTime(case, time) for _, case, time in items if isinstance(case, MergeCase)),
        proposals=tuple(
            ProposalsTime(case, dtype_name(workload.dtype), workload.layout, time)
            for workload, case, time in items
            if isinstance(case, ProposalsCase) and workload.dtype and workload.layout
        ),
        label_logits=tuple(
            LabelLogitsTime(case, dtype_name(workload.dtype), workload.layout, time)
            for workload, case, time in items
            if isinstance(case, LabelLogitsCase) and workload.dtype and workload.layout
        ),
    )
