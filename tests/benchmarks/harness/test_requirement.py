"""What a requirement may say, and how it is judged."""

from typing import Any

import pytest

from benchmarks.harness.report import AccuracyDetail, EngineReport, Estimate
from benchmarks.harness.requirement import exit_code, judge, parse_requirements
from benchmarks.harness.summary import Percentiles, Ratio
from refinemask.files import UserError
from tests.support.engine_reports import make_comparison, make_engine

ENGINES = "out/a.safetensors", "out/a.onnx", "out/a.onnx@openvino:bf16"
LATENCY = Percentiles(n=6, min=90, p50=100, p90=120, p95=130, p99=150)


def engine(name: str = "a.onnx", ap: float = 0.4, **figures: Any) -> EngineReport:
    """An engine of which ΔAP is -0.1 and lies between -0.3 and 0.1; the speed-up is 2, and between 1.8 and 2.2."""
    detail = AccuracyDetail(
        ap={"segm": Estimate(ap, ap - 0.05, ap + 0.05)},
        change={"segm": Estimate(-0.001, -0.003, 0.001)},
        per_class={},
        precision_recall={},
    )
    known = {
        "engine": name,
        "accuracy": {"segm": {"AP": ap}},
        "detail": detail,
        "speedup": Ratio(6, 1.9, 2, 2.1, 1.8, 2.2),
        "fps": 10.0,
        "latency_ms": {"engine": LATENCY, "total": LATENCY},
    }
    return make_engine(**known | figures)


def met(text: str, **figures: Any) -> bool:
    report = make_comparison([engine("a.safetensors"), engine("a.onnx", **figures)])
    judged = judge(report, parse_requirements([text], ENGINES[:2]))
    return all(outcome.met for outcome in judged.requirements or ())


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ΔAP >= -0.31", True),
        ("ΔAP >= -0.29", False),  # -0.1, but the lower end is -0.3
        ("ΔAP <= 0.11", True),
        ("ΔAP <= 0.09", False),
        ("delta_ap≥−0.31", True),
        ("delta mask AP > -0.31", True),
        ("AP >= 34.9", True),
        ("mask_ap >= 35.1", False),
        ("ap < 45.1", True),
        ("speedup >= 1.79", True),
        ("Speed-up > 1.81", False),
        ("speedup ≤ 2.21", True),
        ("fps >= 10", True),
        ("fps > 10", False),
        ("latency_ms <= 100", True),
        ("p99 <= 149.9", False),
        ("latency_end_to_end <= 100.", True),
        ("\tΔ  mask-AP\n>\u00a0-0.31 ", True),
        ("∆AP≥-.31", True),
        ("DELTA_AP >= +0", False),
    ],
)
def test_is_judged_by_the_worse_end(text: str, holds: bool) -> None:
    assert met(text) == holds


@pytest.mark.parametrize(
    ("text", "figures", "reason"),
    [
        ("ΔAP >= -100", {"detail": None}, "has no such accuracy"),
        ("AP >= -100", {"ap": -1.0}, "has no such accuracy"),
        ("boundary_ap >= -100", {}, "has no such accuracy"),
        ("speedup > 0", {"speedup": Ratio(5, 1, 1, 1)}, "has no interval: fewer than six rounds"),
        ("peak_mib < 1e9".replace("1e9", "1000000000"), {}, "is not known on this system"),
    ],
)
def test_what_is_not_there_does_not_pass(
    text: str, figures: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_comparison([engine("a.safetensors"), engine("a.onnx", **figures)])
    judged = judge(report, parse_requirements([text.replace(" ", "[a.onnx] ", 1)], ENGINES[:2]))
    assert exit_code(judged) == 3
    assert reason in capsys.readouterr().err


def test_the_message_names_requirement_engine_value_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_comparison([engine("a.safetensors"), engine("a.onnx"), engine("b.onnx", fps=20.0)])
    requirements = parse_requirements(["ΔAP >= -0.2", "fps >= 15"], ("a.safetensors", "a.onnx", "b.onnx"))
    assert exit_code(judge(report, requirements)) == 3
    assert capsys.readouterr().err.splitlines() == [
        "not met: ΔAP >= -0.2: a.onnx has -0.10, and -0.30 at the worse end of its 95 % interval",
        "not met: ΔAP >= -0.2: b.onnx has -0.10, and -0.30 at the worse end of its 95 % interval",
        "not met: fps >= 15: a.safetensors has 10.00",
        "not met: fps >= 15: a.onnx has 10.00",
    ]


def test_without_requirements_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_comparison([engine()])
    assert judge(report, []) == report
    assert exit_code(report) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "engines"),
    [
        ("fps > 1", (0, 1, 2)),
        ("speedup > 1", (1, 2)),
        ("fps[a.onnx] > 1", (1,)),
        ("fps[out/a.onnx@openvino:bf16] > 1", (2,)),
        ("fps[openvino:bf16] > 1", (2,)),
        ("speedup [ openvino ] > 1", (2,)),
        ("fps[a] > 1", (0, 1, 2)),
        ("speedup[a] > 1", (1, 2)),
    ],
)
def test_is_for_the_engines_of_the_name(text: str, engines: tuple[int, ...]) -> None:
    [requirement] = parse_requirements([text], ENGINES)
    assert requirement.engines == engines


WITH_RESULTS = "out/a.onnx", "r/theirs.json@yolo:31.5", "out/b.onnx", "other.json"


@pytest.mark.parametrize(
    ("text", "engines"),
    [
        ("ΔAP > 1", (1,)),
        ("AP > 1", (0, 1)),
        ("fps > 1", (0, 1)),
        ("AP[b] > 1", (1,)),
        ("ΔAP[yolo] > 1", (2,)),
        ("ΔAP[theirs] > 1", (2,)),
        ("ΔAP[theirs.json@yolo] > 1", (2,)),
        ("ΔAP[r/theirs.json@yolo:31.5] > 1", (2,)),
        ("box_ap[other] > 1", (3,)),
    ],
)
def test_results_stand_behind_the_engines_and_are_judged_by_name(text: str, engines: tuple[int, ...]) -> None:
    [requirement] = parse_requirements([text], WITH_RESULTS)
    assert requirement.engines == engines


@pytest.mark.parametrize("text", ["fps[yolo] > 1", "speedup[yolo] > 1", "peak_mib[theirs.json] < 1"])
def test_nothing_is_known_of_the_speed_of_results(text: str) -> None:
    with pytest.raises(UserError, match=r"yolo:31\.5 is a results file, of which no speed is measured"):
        parse_requirements([text], WITH_RESULTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ΔAP", "expected FIGURE >= NUMBER"),
        ("ΔAP = 1", "expected FIGURE >= NUMBER"),
        ("ΔAP >= nan", "expected FIGURE >= NUMBER"),
        ("ΔAP >= 1 >= 2", "expected FIGURE >= NUMBER"),
        ("fps[] > 1", "expected FIGURE >= NUMBER"),
        ("ΔAP => -1", "expected FIGURE >= NUMBER"),
        ("-0.2 <= ΔAP", "expected FIGURE >= NUMBER"),
        ("ΔAP >= -0.2, fps > 1", "expected FIGURE >= NUMBER"),
        ("AP >= inf", "expected FIGURE >= NUMBER"),
        ("AP >= 0,5", "expected FIGURE >= NUMBER"),
        ("Δ >= 0", "'Δ' is no figure"),
        ("ms < 3", "'ms' is no figure"),
        ("fps[ ] > 1", "no engine is ' '; expected one of out/a.safetensors"),
        ("speedp > 1", "'speedp' is no figure (did you mean 'speedup'?); expected one of AP, box_ap"),
        ("fps[tensorrt] > 1", "no engine is 'tensorrt'; expected one of out/a.safetensors, out/a.onnx"),
        ("speedup[a.safetensors] > 1", "with the first, out/a.safetensors; require it of another engine"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_requirements([text], ENGINES)
    assert str(error.value).startswith(f"--require {text!r}: ")
    assert message in str(error.value)


def test_what_a_command_does_not_measure_is_no_requirement_of_it() -> None:
    with pytest.raises(UserError, match="'fps' is not measured by this command; expected one of AP, box_ap"):
        parse_requirements(["fps > 1"], ENGINES, speed=False)
    with pytest.raises(UserError, match="'AP' is not measured by this command; expected one of speedup"):
        parse_requirements(["AP > 1"], ENGINES, accuracy=False)
    with pytest.raises(UserError, match="name a second engine to compare"):
        parse_requirements(["ΔAP > 0"], ENGINES[:1])
