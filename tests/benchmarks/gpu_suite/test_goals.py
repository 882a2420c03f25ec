"""Every goal is judged on the report's own data, or says why it is not."""

from dataclasses import replace

import pytest

from benchmarks.gpu_suite.agreement import Agreement
from benchmarks.gpu_suite.all_goals import GOALS
from benchmarks.gpu_suite.context import Outcome
from benchmarks.gpu_suite.goal_report import GoalReport, Status
from benchmarks.gpu_suite.goals import judge
from benchmarks.gpu_suite.report import GpuReport
from tests.support.gpu_reports import full_report, without

FIGURES: dict[str, tuple[Status, float]] = {
    "G1 eager fp32 / compiled fp16, batch 1": ("reached", 26 / 4),
    "G2 eager tf32 / compiled fp16, batch 1": ("missed", 11 / 4),
    "G2 eager fp16 / compiled fp16, batch 1": ("reached", 9 / 4),
    "G2 torch.compile fp16 in a CUDA graph / compiled fp16, batch 1": ("reached", 5 / 4),
    "G3 share of the card's fp16 product, batch 1": ("reached", 1e12 / 4e-3 / 800e12),
    "G3 share of the card's fp16 product, batch 8": ("reached", 8e12 / 20e-3 / 800e12),
    "G4 network, batch 1": ("reached", 250),
    "G4 network, batch 8": ("reached", 400),
    "G5 share without convolutions, batch 1": ("reached", 0.2),
    "G6 JPEG to run lengths, pipelined / network alone": ("reached", 0.9),
    "G7 paste + run lengths of 100 masks": ("reached", 0.25),
    "G8 host time that nothing hides, share of an image": ("missed", 0.1),
    "G9 network with the worst boxes / usual ones": ("reached", (4 + 3 * 0.2) / 4),
    "G10 network with 10 / 100 detections": ("reached", 0.8),
    "G11 host time to enqueue an image": ("reached", 30),
    "G12 memory, compiled fp16 / eager fp32": ("reached", 0.5),
    "accuracy: |ΔAP| of fp16, points of 100": ("missed", 0.2),
}
NOT_RUN = {
    "G2 ONNX Runtime CUDA, the faster of fp32 and fp16 / compiled fp16, batch 1": (
        "ONNX Runtime fp32 and ONNX Runtime fp16 did not run"
    ),
    "G2 ONNX Runtime's TensorRT provider / compiled fp16, batch 1": "no part runs ONNX Runtime's TensorRT provider",
    "G2 trtexec on the exported graph with stock NMS / compiled fp16, batch 1": (
        "no part runs trtexec on the exported graph with stock NMS"
    ),
}


def judged(report: GpuReport) -> dict[str, GoalReport]:
    found = {goal.name: goal for goal in judge(GOALS, report)}
    assert len(found) == len(GOALS)
    return found


def test_each_goal_of_the_network_has_its_figure() -> None:
    goals = {name: goal for name, goal in judged(full_report()).items() if name.startswith(("G", "accuracy"))}
    assert {name: goal.status for name, goal in goals.items()} == {
        **{name: status for name, (status, _) in FIGURES.items()},
        **dict.fromkeys(NOT_RUN, "not run"),
    }
    assert {name: goals[name].figure for name in FIGURES} == pytest.approx(
        {name: figure for name, (_, figure) in FIGURES.items()}
    )
    assert {name: goals[name].reason for name in NOT_RUN} == NOT_RUN


@pytest.mark.parametrize("stranger", ["compiled fp16", "eager tf32"])
def test_times_of_other_detections_reach_nothing(stranger: str) -> None:
    report = full_report()
    assert report.network is not None
    other = Agreement(expected=100, found=41, matched=0.0, different_cells=None)
    times = tuple(replace(t, agreement=other) if t.contender == stranger else t for t in report.network.times)
    goals = judged(replace(report, network=replace(report.network, times=times)))
    of_network = [name for name in FIGURES if name.startswith("G") and "G7" not in name]
    touched = of_network if stranger == "compiled fp16" else ["G2 eager tf32 / compiled fp16, batch 1"]
    for name in touched:
        assert (goals[name].status, goals[name].reason) == (
            "not run",
            f"{stranger} finds other detections than eager fp32",
        ), name
    assert all(goals[name].status == status for name, (status, _) in FIGURES.items() if name not in touched)


def test_every_number_of_the_list_has_a_line() -> None:
    numbers = {goal.name.split()[0] for goal in GOALS if goal.name.startswith("G")}
    assert numbers == {f"G{number}" for number in range(1, 13)}


def test_goals_of_the_kernels_judge_their_rivals() -> None:
    found = {name: goal for name, goal in judged(full_report()).items() if not name.startswith(("G", "accuracy"))}
    assert len(found) == 4 + 4 + 2 + 2
    ratios = {name: (goal.status, round(goal.figure or 0, 2)) for name, goal in found.items()}
    assert ratios["RoIAlign box head 7×7, float16, channels last: torchvision per level / kernel"] == ("reached", 2.5)
    assert ratios["NMS proposals 5 × 1000 → 1000: torchvision / kernel"] == ("missed", 0.67)
    assert ratios["NMS proposals 5 × 1000 → 1000: fixpoint of matrix products / kernel"] == ("reached", 6.67)
    assert ratios["top-k 8 × 80000 → 3840: torch.topk / kernel"] == ("reached", 2.5)
    proposals = "proposals 8 × 5 levels of 800 × 1344 → 1000, float16, channels last"
    assert ratios[f"{proposals}: torch.topk, gather, decode / kernel"] == ("reached", 6.25)


def test_without_results_each_goal_says_why() -> None:
    full = full_report()
    reasons = {"network": "no time", "kernel-times": "nvcc not found", "paste": "broken"}
    outcomes = tuple(Outcome(name=name, status="not run", seconds=0, reason=reason) for name, reason in reasons.items())
    empty = GpuReport(provenance=full.provenance, device="cuda", tiny=False, seconds=1, outcomes=outcomes)
    goals = judged(empty)
    assert {goal.status for goal in goals.values()} == {"not run"}
    assert goals["G1 eager fp32 / compiled fp16, batch 1"].reason == "no time"
    assert goals["G7 paste + run lengths of 100 masks"].reason == "broken"
    assert goals["G5 share without convolutions, batch 1"].reason == "compiled fp16 was not profiled"
    assert goals["RoIAlign box head 7×7, float16, planar: torchvision per level / kernel"].reason == "nvcc not found"


def test_the_step_that_broke_is_the_reason() -> None:
    broken = Outcome(name="kernel-times: NMS times", status="failed", seconds=1, reason="illegal memory access")
    done = Outcome(name="kernel-times", status="done", seconds=1)
    full = full_report()
    assert full.kernel_times is not None
    report = replace(full, outcomes=(broken, done), kernel_times=replace(full.kernel_times, nms=()))
    goals = judged(report)
    assert goals["NMS proposals 5 × 1000 → 1000: torchvision / kernel"].reason == "illegal memory access"
    assert goals["RoIAlign box head 7×7, float16, planar: torchvision per level / kernel"].status == "reached"


def test_goals_are_not_judged_on_a_missing_contender() -> None:
    goals = judged(without(full_report(), "compiled fp16"))
    assert goals["G1 eager fp32 / compiled fp16, batch 1"].reason == (
        "compiled fp16 did not run, batch 1, many detections"
    )
    assert goals["G5 share without convolutions, batch 1"].status == "reached"


@pytest.mark.parametrize("change", [{"device": "cpu"}, {"tiny": True}])
def test_goals_are_not_judged_on_small_sizes_or_a_cpu(change: dict[str, object]) -> None:
    goals = judged(replace(full_report(), **change))  # type: ignore[arg-type]
    assert {(goal.status, goal.reason) for goal in goals.values()} == {
        ("not run", "goals are about full sizes on a GPU")
    }


def test_what_is_no_number_reaches_nothing() -> None:
    full = full_report()
    assert full.network is not None
    nan = replace(full, network=replace(full.network, fp16_rate=float("nan")))
    assert judged(nan)["G3 share of the card's fp16 product, batch 1"].status == "missed"
