"""Checks and times of the kernels, compiled for the CPU."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_suite import kernel_checks, kernel_times, kernel_times_report, numerics
from benchmarks.gpu_suite.cases import LabelLogitsCase, MergeCase, NMSCase, ProposalsCase, RoIAlignCase, TopKCase
from benchmarks.gpu_suite.kernel_checks import run_numerics
from benchmarks.gpu_suite.kernel_times_report import KernelTimesReport, run_kernel_times
from benchmarks.gpu_suite.timing import CpuTimer, Timing
from benchmarks.gpu_suite.workload import Workload
from benchmarks.harness.report_file import read_report, write_report
from refinemask.files import FailedCheckError
from refinemask.ops import fixed_nms
from tests.benchmarks.gpu_suite.conftest import MakeContext
from trt_plugins import torch_ops
from trt_plugins.c_api import Kernels
from trt_plugins.torch_kernels import TorchKernels

ROI_CASE = RoIAlignCase(name="box head 7×7", levels=4, channels=8, rois=9, output_size=7, image=(128, 192))
NMS_CASE = NMSCase(name="small", groups=2, boxes=100, k=50, iou_threshold=0.5)
TOP_K_CASE = TopKCase(groups=2, scores=100, k=50, padding=0.7)
SEGMENTS_CASE = TopKCase(groups=2, scores=130, k=20, segments=(100, 30))
MERGE_CASE = MergeCase(rois=2, size=8)
PROPOSALS_CASE = ProposalsCase(batch=2, k=30, image=(64, 96))
LABEL_LOGITS_CASE = LabelLogitsCase(rois=2, channels=8, size=4, mask_channels=2)
TIMER = CpuTimer(rounds=1, warmup=0)


def test_the_checks_pass_where_the_kernels_are_right(kernels: TorchKernels) -> None:
    checks = [
        *numerics.check_roi_align(kernels, "cpu", [ROI_CASE]),
        *numerics.check_nms(kernels, "cpu", [NMS_CASE]),
        *numerics.check_top_k(kernels, "cpu", [TOP_K_CASE, SEGMENTS_CASE]),
        *numerics.check_merge(kernels, "cpu", [MERGE_CASE]),
        *numerics.check_proposals(kernels, "cpu", [PROPOSALS_CASE]),
        *numerics.check_label_logits(kernels, "cpu", [LABEL_LOGITS_CASE, replace(LABEL_LOGITS_CASE, mask_channels=0)]),
    ]
    assert len(checks) == 12 + 2 + 2 + 1 + 6 + 12
    assert [check.name for check in checks if not check.passed] == []


class WrongScale(TorchKernels):
    """Kernels that pool every RoI from the level of another size."""

    def multilevel_roi_align(
        self, features: Sequence[torch.Tensor], rois: torch.Tensor, output_size: int, sampling_ratio: int, _: int
    ) -> torch.Tensor:
        return super().multilevel_roi_align(features, rois, output_size, sampling_ratio, finest_scale=1)


def test_the_checks_fail_where_a_kernel_is_wrong(host_library: Path) -> None:
    checks = [*numerics.check_roi_align(WrongScale(Kernels(host_library)), "cpu", [ROI_CASE])]
    assert len(checks) == 12
    assert not any(check.passed for check in checks)
    nothing = torch.full((3,), float("nan"))
    assert numerics.relative_error(nothing, torch.ones(3, dtype=torch.float64)) == float("inf")


class Exchanged(TorchKernels):
    """Kernels that exchange the first two proposals."""

    def select_proposals(
        self, maps: Sequence[torch.Tensor], base_anchors: torch.Tensor, image_sizes: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, scores = super().select_proposals(maps, base_anchors, image_sizes, k)
        boxes[0, [0, 1]] = boxes[0, [1, 0]]
        return boxes, scores


def test_two_proposals_in_the_wrong_order_fail(host_library: Path) -> None:
    checks = [*numerics.check_proposals(Exchanged(Kernels(host_library)), "cpu", [PROPOSALS_CASE])]
    assert len(checks) == 6
    assert not any(check.passed for check in checks)


def test_a_failed_check_fails_the_part_and_is_kept(
    host_library: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(host_library)
    monkeypatch.setattr(context, "kernels", lambda: WrongScale(Kernels(host_library)))
    with pytest.raises(FailedCheckError, match=r"of \d+ checks passed; the first that failed is RoIAlign tiny"):
        run_numerics(context)
    report = context.report(kernel_checks.NumericsReport)
    assert report is not None
    assert report.failed


def test_times_name_their_rivals_and_count_bytes(kernels: TorchKernels) -> None:
    times = dict(
        [
            *kernel_times.time_roi_align(kernels, TIMER, "cpu", torch.float32, [ROI_CASE]),
            *kernel_times.time_nms(kernels, TIMER, "cpu", [NMS_CASE]),
            *kernel_times.time_top_k(kernels, TIMER, "cpu", [TOP_K_CASE, SEGMENTS_CASE]),
            *kernel_times.time_merge(kernels, TIMER, "cpu", [MERGE_CASE]),
            *kernel_times.time_proposals(kernels, TIMER, "cpu", torch.float16, [PROPOSALS_CASE]),
            *kernel_times.time_label_logits(kernels, TIMER, "cpu", torch.float16, [LABEL_LOGITS_CASE]),
        ]
    )
    assert {workload: set(time.rivals) for workload, time in times.items()} == {
        Workload(ROI_CASE, torch.float32, "planar"): {"torchvision per level"},
        Workload(ROI_CASE, torch.float32, "channels last"): {"torchvision per level"},
        Workload(NMS_CASE): {"torchvision", "fixpoint of matrix products", "the same in a CUDA graph"},
        Workload(TOP_K_CASE): {"torch.topk"},
        Workload(SEGMENTS_CASE): {"torch.topk", "one segment after another"},
        Workload(MERGE_CASE): {"eager"},
        **{
            Workload(PROPOSALS_CASE, torch.float16, layout): {"torch.topk, gather, decode", "our top-k, gather, decode"}
            for layout in ("planar", "channels last")
        },
        Workload(LABEL_LOGITS_CASE, torch.float16, "planar"): {"eager"},
        Workload(LABEL_LOGITS_CASE, torch.float16, "channels last"): {"eager"},
    }
    assert [str(workload) for workload in times] == [
        "RoIAlign box head 7×7, float32, planar",
        "RoIAlign box head 7×7, float32, channels last",
        "NMS small",
        "top-k 2 × 100 → 50",
        "top-k 2 × 100 + 30 → 20",
        "merge 2 × 8² → 16²",
        "proposals 2 × 5 levels of 64 × 96 → 30, float16, planar",
        "proposals 2 × 5 levels of 64 × 96 → 30, float16, channels last",
        "label logits 2 × 8 × 4² + 2 → 8², float16, planar",
        "label logits 2 × 8 × 4² + 2 → 8², float16, channels last",
    ]
    assert all(time.counted_bytes for time in times.values())


def test_the_eager_rival_runs_without_our_kernels(kernels: TorchKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    off: list[str] = []
    during: list[list[str]] = []

    @contextmanager
    def disabled(device: str) -> Iterator[None]:
        off.append(device)
        yield
        off.remove(device)

    def timer(variants: Sequence[Callable[[], object]], graph: bool = True) -> Timing:
        during.append([*off])
        return TIMER(variants, graph)

    monkeypatch.setattr(torch_ops, "disabled", disabled)
    list(kernel_times.time_merge(kernels, timer, "cpu", [MERGE_CASE]))
    assert during == [["cpu"], []]


def test_stored_times_are_found_by_the_same_workloads(
    host_library: Path, make_context: MakeContext, tmp_path: Path
) -> None:
    report = run_kernel_times(make_context(host_library))
    assert len(report.times) == 2 * 2 * 2 + 2 + 3 + 2 + 2 * 2 + 2 * 2 * 2
    write_report(report, tmp_path / "times.json")
    assert read_report(KernelTimesReport, tmp_path / "times.json").times == report.times


def test_what_was_timed_before_an_error_is_kept(
    host_library: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = NMSCase(name="nothing", groups=0, boxes=100, k=50, iou_threshold=0.5)
    monkeypatch.setattr(kernel_times_report, "TINY_NMS_CASES", (NMS_CASE, nothing))
    monkeypatch.setattr(kernel_times_report, "TINY_ROI_ALIGN_CASES", ())
    context = make_context(host_library)
    context.part = "kernel-times"
    report = run_kernel_times(context)
    assert [each.case for each in report.nms] == [NMS_CASE]
    assert [each.name for each in context.outcomes if each.status == "failed"] == ["kernel-times: NMS times"]
    assert report.merge


def test_the_fixpoint_is_greedy_suppression() -> None:
    boxes, scores = NMS_CASE.random_boxes("cpu", seed=0)
    indices, count = fixed_nms(boxes, scores, 0.5, 50)
    found = kernel_times.fixpoint_nms(boxes, scores, 0.5, 50)
    for group in range(2):
        kept = int(count[group])
        assert found[group, :kept].tolist() == indices[group, :kept].tolist()
