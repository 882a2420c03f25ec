"""A tiny run: every setting is measured or named, and an interrupted run goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness.report_file import read_report, write_report
from benchmarks.scaling import measurement
from benchmarks.scaling.measurement import measure_scaling
from benchmarks.scaling.plan import Plan
from benchmarks.scaling.report import ScalingReport, Setting, SettingReport
from refinemask.files import UserError


@pytest.fixture
def plan(toy_onnx: Path, pictures: list[Path], tmp_path: Path) -> Plan:
    """The toy always finds three objects, and takes batches of up to four."""
    return Plan(
        engines=(str(toy_onnx),),
        images=(pictures[0].parent,),
        limit=2,
        detections=(0, 3),
        sizes=((64, 96), (32, 64)),
        batches=(1, 5),
        threads=(1,),
        rounds=6,
        output=tmp_path / "report.json",
    )


def test_every_setting_is_measured_or_named(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    report = measure_scaling(plan)
    assert plan.output is not None
    assert read_report(ScalingReport, plan.output) == report
    by_setting = {str(each.setting): each for each in report.settings}
    assert by_setting.keys() == {
        "64x96, batch 1, 1 threads",
        "32x64, batch 1, 1 threads",
        "64x96, batch 5, 1 threads",
        "64x96, batch 1, 1 threads, 0 detections",
        "64x96, batch 1, 1 threads, 3 detections",
    }
    assert "batch" in by_setting["64x96, batch 5, 1 threads"].not_possible["toy.onnx"]
    reason = by_setting["64x96, batch 1, 1 threads, 0 detections"].not_possible["toy.onnx"]
    assert reason == "these images give no number near to 0"
    measured = [each for each in report.settings if not each.not_possible]
    assert len(measured) == 3
    for each in measured:
        [point] = each.points
        assert point.detections == (3,) * 6
        assert {phase: len(samples) for phase, samples in point.samples_ms.items()} == {"engine": 6, "total": 6}
        assert point.latency_ms["total"].min > point.latency_ms["engine"].min > 0
    assert {(fit.axis, fit.phase) for fit in report.growth} == {("size", "engine"), ("size", "total")}

    # An interrupted run goes on with what is missing.
    write_report(replace(report, settings=report.settings[:-1], growth=()), plan.output)
    again: list[Setting] = []

    def measure(plan: Plan, specs: object, setting: Setting, batches: object) -> SettingReport:
        again.append(setting)
        return report.settings[-1]

    monkeypatch.setattr(measurement, "_measure_setting", measure)
    monkeypatch.setattr(measurement, "_needed", lambda *_: (64, 96))
    resumed = measure_scaling(replace(plan, resume=True))
    assert replace(resumed, provenance=report.provenance) == report
    assert again == [report.settings[-1].setting]
    refused = r"report\.json: is of other inputs, versions or another CPU; measure anew without --resume"
    with pytest.raises(UserError, match=refused):
        measure_scaling(replace(plan, resume=True, rounds=7))
    write_report(replace(report, provenance=replace(report.provenance, versions={"torch": "1.0"})), plan.output)
    with pytest.raises(UserError, match=refused):
        measure_scaling(replace(plan, resume=True))


def test_engines_and_images_of_one_name_are_refused(plan: Plan, pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"two engines are called toy\.onnx"):
        measure_scaling(replace(plan, engines=plan.engines * 2))
    other = tmp_path / "elsewhere" / pictures[0].name
    other.parent.mkdir()
    other.write_bytes(pictures[0].read_bytes())
    with pytest.raises(UserError, match=r"2 images are called 0\.png; expected different names"):
        measure_scaling(replace(plan, images=(pictures[0], other)))
