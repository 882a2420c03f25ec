"""The GPU suite's own logic, with the kernels compiled for the CPU and a clock in place of device events."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.gpu_suite import __main__ as gpu_suite
from benchmarks.gpu_suite import detector, kernel_times, numerics, suite
from benchmarks.gpu_suite.cases import (
    NMS_CASES,
    MergeCase,
    NMSCase,
    RoIAlignCase,
    draw_boxes,
    roi_align_bytes,
)
from benchmarks.gpu_suite.detector import count_agreeing
from benchmarks.gpu_suite.goals import GOALS, RivalGoal, WorstCaseGoal, judge
from benchmarks.gpu_suite.kernel_times import FIXPOINT, PER_LEVEL, TORCHVISION, KernelTime
from benchmarks.gpu_suite.network import NotRunError
from benchmarks.gpu_suite.suite import KERNELS, Plan, Suite
from benchmarks.gpu_suite.tables import print_suite
from benchmarks.gpu_suite.timing import Timing, Work
from benchmarks.gpu_suite.workload import TimingPart, Workload
from benchmarks.harness.report_file import to_json
from refinemask.files import UserError
from refinemask.ops import fixed_nms
from refinemask.structures import Detections
from tests.support.host_kernels import build_cache, host_library
from tests.support.tiny_detector import make_tiny_detector
from trt_plugins.c_api import Kernels
from trt_plugins.torch_ops import TorchKernels

__all__ = ["build_cache", "host_library"]

ROI_CASE = RoIAlignCase(name="box head 7×7", levels=4, channels=8, rois=9, output_size=7, image=(128, 192))
NMS_CASE = NMSCase(name="small", groups=2, boxes=100, k=50, iou_threshold=0.5)
MERGE_CASE = MergeCase(rois=2, size=8)


def clock(variants: Sequence[Work], graph: bool = True) -> Timing:
    samples = []
    for work in variants:
        start = time.perf_counter()
        work()
        samples.append((time.perf_counter() - start) * 1e6)
    return Timing.of(samples, graph)


@pytest.fixture
def kernels(host_library: Path) -> TorchKernels:
    return TorchKernels(Kernels(host_library))


def test_the_checks_pass_where_the_kernels_are_right(kernels: TorchKernels) -> None:
    checks = [
        *numerics.check_roi_align(kernels, "cpu", [ROI_CASE]),
        *numerics.check_nms(kernels, "cpu", [NMS_CASE]),
        *numerics.check_merge(kernels, "cpu", [MERGE_CASE]),
    ]
    assert len(checks) == 12 + 2 + 1
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


def test_times_name_their_rivals_and_count_bytes(kernels: TorchKernels) -> None:
    times = dict(
        [
            *kernel_times.time_roi_align(kernels, clock, "cpu", torch.float32, [ROI_CASE]),
            *kernel_times.time_nms(kernels, clock, "cpu", [NMS_CASE]),
            *kernel_times.time_merge(kernels, clock, "cpu", [MERGE_CASE]),
        ]
    )
    assert {workload: set(time.rivals) for workload, time in times.items()} == {
        Workload(ROI_CASE, torch.float32, "planar"): {"torchvision per level"},
        Workload(ROI_CASE, torch.float32, "channels last"): {"torchvision per level"},
        Workload(NMS_CASE): {"torchvision", "fixpoint of matrix products", "the same in a CUDA graph"},
        Workload(MERGE_CASE): {"eager"},
    }
    assert [str(workload) for workload in times] == [
        "RoIAlign box head 7×7, float32, planar",
        "RoIAlign box head 7×7, float32, channels last",
        "NMS small",
        "merge 2 × 8² → 16²",
    ]
    assert all(time.counted_bytes for time in times.values())


def test_the_fixpoint_is_greedy_suppression() -> None:
    boxes, scores = NMS_CASE.random_boxes("cpu", seed=0)
    indices, count = fixed_nms(boxes, scores, 0.5, 50)
    found = kernel_times.fixpoint_nms(boxes, scores, 0.5, 50)
    for group in range(2):
        kept = int(count[group])
        assert found[group, :kept].tolist() == indices[group, :kept].tolist()


def test_counted_bytes_of_a_box_that_covers_the_map() -> None:
    feature = torch.zeros(1, 8, 50, 60, dtype=torch.float16)
    whole = torch.tensor([[0.0, 0, 0, 240, 200]]).repeat(3, 1)
    assert roi_align_bytes([feature], whole, 7) == 8 * (50 * 60 + 3 * 49) * 2 + 3 * 5 * 4


def test_drawn_boxes_are_inside_and_as_large_as_said() -> None:
    boxes = draw_boxes(2000, (800, 1344), "coco", seed=0)
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 1344).all()
    assert (boxes[:, 3] <= 800).all()
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt() / (800 * 1344) ** 0.5
    assert 0.08 < sides.median() < 0.12


def test_large_boxes_have_nothing_in_common() -> None:
    full, large = (draw_boxes(100, (800, 1344), kind, seed=0) for kind in ("full", "large"))
    assert (full == torch.tensor([0, 0, 1344, 800])).all()
    assert all(len(large[:, side].unique()) == 100 for side in range(4))
    assert (large[:, 2:] - large[:, :2] >= 0.8 * torch.tensor([1344, 800])).all()


def test_the_detector_s_nms_keeps_enough_to_be_hard() -> None:
    boxes, scores = NMS_CASES[1].random_boxes("cpu", seed=0)
    _, count = fixed_nms(boxes, scores, 0.5, 3840)
    assert 200 < int(count) < 3000


def kernel_time(microseconds: float, **rivals: float) -> KernelTime:
    timings = {getattr(kernel_times, name): Timing.of([value], False) for name, value in rivals.items()}
    return KernelTime(Timing.of([microseconds], True), timings, 1000)


def test_the_detector_agrees_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "noise.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    monkeypatch.setattr(detector.torch_ops, "enable", lambda *_: None)
    result = detector.compare_operators(make_tiny_detector(), [picture], None, clock, "cpu")  # type: ignore[arg-type]
    assert 0 < result.detections == result.agree


def test_a_moved_box_does_not_agree() -> None:
    boxes, masks = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 8, 8), np.float32)
    found = Detections(boxes, np.ones((1, 2)), np.zeros((1, 2), int), np.array([2]), masks)
    moved = found._replace(boxes=boxes + np.array([[[0, 0, 0, 0], [1, 0, 0, 0]]]))
    assert count_agreeing(found, found) == 2
    assert count_agreeing(found, moved) == 1
    assert count_agreeing(found._replace(num_detections=np.array([0])), found) == 0


def test_goals_judge_ratios() -> None:
    usual, worst, nms = Workload(ROI_CASE), Workload(replace(ROI_CASE, boxes="full")), Workload(NMS_CASE)
    times = {
        usual: kernel_time(10, PER_LEVEL=25),
        worst: kernel_time(40, PER_LEVEL=25),
        nms: kernel_time(10, TORCHVISION=9, FIXPOINT=60),
    }
    goals: list[RivalGoal | WorstCaseGoal] = [
        RivalGoal(usual, PER_LEVEL, least=2),
        WorstCaseGoal(worst, usual, most=3),
        WorstCaseGoal(worst, usual, most=4),
        RivalGoal(nms, FIXPOINT, least=5),
        RivalGoal(nms, TORCHVISION, least=1),
    ]
    found = [(goal.ratio, goal.status) for goal in judge(goals, times, str)]
    assert found == [(2.5, "met"), (4.0, "missed"), (4.0, "met"), (6.0, "met"), (0.9, "missed")]


def test_a_case_by_another_name_is_the_same_case() -> None:
    times = {}
    for workload in {workload for goal in GOALS for workload in goal.workloads}:
        case = workload.case if isinstance(workload.case, MergeCase) else replace(workload.case, name="renamed")
        times[replace(workload, case=case)] = kernel_time(10, PER_LEVEL=25, TORCHVISION=25, FIXPOINT=25)
    assert len(times) == 24
    results = judge(GOALS, times, lambda workload: pytest.fail(f"{workload} has no time"))
    assert len(results) == len(GOALS) == 20
    assert all(goal.ratio is not None for goal in results)


def test_a_suite_that_measured_nothing_lists_every_goal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Suite(Plan(output=tmp_path, minutes=0), device="cpu", timer=clock).run_all()
    assert len(report.goals) == len(GOALS)
    assert {(goal.status, goal.ratio, goal.reason) for goal in report.goals} == {
        ("not run", None, "the 0 minutes were over")
    }
    print_suite(report)
    printed = capsys.readouterr().out
    assert printed.count(": the 0 minutes were over") == len(GOALS) + len(report.not_run)


def test_a_goal_says_why_it_has_no_time(tmp_path: Path) -> None:
    parts = Suite(Plan(output=tmp_path), device="cpu", timer=clock)
    parts.failed[TimingPart("NMS")] = "RuntimeError: illegal memory access"
    parts.not_run[TimingPart("RoIAlign", torch.float32)] = "nobody asks"
    reasons = {goal.name: goal.reason for goal in parts.report().goals}
    assert {reason for name, reason in reasons.items() if name.startswith("NMS")} == {
        "RuntimeError: illegal memory access"
    }
    assert {reason for name, reason in reasons.items() if name.startswith("RoIAlign")} == {"it was not timed"}
    parts.not_run[KERNELS] = "libkernels.so: no such file"
    reasons = {goal.name: goal.reason for goal in parts.report().goals}
    assert {reason for name, reason in reasons.items() if name.startswith("RoIAlign")} == {
        "libkernels.so: no such file"
    }


def test_a_part_that_fails_is_listed_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = Suite(Plan(output=tmp_path), device="cpu", timer=clock)

    def lacks() -> None:
        raise NotRunError("the package tensorrt is not installed")

    def breaks() -> None:
        raise ZeroDivisionError("oops")

    parts.run("TensorRT", lacks)
    parts.run("broken", breaks)
    parts.times[Workload(NMS_CASES[0])] = kernel_time(10, TORCHVISION=9, FIXPOINT=60)
    report = parts.report()
    print_suite(report)
    assert report.not_run == {"TensorRT": "the package tensorrt is not installed"}
    assert report.failed == {"broken": "ZeroDivisionError: oops"}
    output = capsys.readouterr().out
    assert "not run: TensorRT: the package tensorrt is not installed" in output
    assert f"MISSED: {Workload(NMS_CASES[0])}: torchvision / kernel: 0.90, wanted at least 1" in output
    assert "failed: broken: ZeroDivisionError: oops" in output
    content = json.loads(json.dumps(to_json(report)))
    assert (content["not_run"], content["failed"]) == (report.not_run, report.failed)
    assert content["times"][0]["workload"] == str(Workload(NMS_CASES[0]))


def test_what_was_timed_before_an_error_is_kept(
    tmp_path: Path, kernels: TorchKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = replace(NMS_CASE, groups=0)
    monkeypatch.setattr(suite, "NMS_CASES", (NMS_CASE, nothing))
    monkeypatch.setattr(suite, "ROI_ALIGN_CASES", ())
    monkeypatch.setattr(suite, "MERGE_CASES", ())
    monkeypatch.setattr(suite, "TorchKernels", lambda _: kernels)
    monkeypatch.setattr(suite, "Kernels", lambda _: None)
    monkeypatch.setattr(suite, "kernels_path", lambda: None)
    monkeypatch.setattr(suite.numerics, "check_kernels", lambda *_: ())
    monkeypatch.setattr(suite, "copy_bandwidth", lambda *_: 1.0)
    parts = Suite(Plan(output=tmp_path), device="cpu", timer=clock)
    parts.run_kernels()
    assert list(parts.times) == [Workload(NMS_CASE)]
    assert list(parts.failed) == [TimingPart("NMS")]


def test_what_does_not_fit_the_time_is_listed(tmp_path: Path) -> None:
    parts = Suite(Plan(output=tmp_path, minutes=0))
    parts.run("late", lambda: pytest.fail("ran"))
    assert parts.not_run == {"late": "the 0 minutes were over"}


def test_without_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu_suite.torch.cuda, "is_available", lambda: False)
    assert gpu_suite.main(Plan(output=tmp_path / "out")) == 2
    assert capsys.readouterr().err.startswith("error: no CUDA device")
    assert not (tmp_path / "out").exists()


def test_an_error_of_the_user_is_a_part_that_is_not_run(tmp_path: Path) -> None:
    def mistaken() -> None:
        raise UserError("a.safetensors: no such file")

    parts = Suite(Plan(output=tmp_path), device="cpu", timer=clock)
    parts.run("networks", mistaken)
    assert (parts.not_run, parts.failed) == ({"networks": "a.safetensors: no such file"}, {})
