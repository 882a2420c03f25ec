"""From samples to figures, JSON and tables."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.interleave import Round
from benchmarks.harness.measure import EngineRun, Measurement, measure
from benchmarks.harness.pipeline import PHASES, Sample
from benchmarks.harness.report import AccuracyDetail, ComparisonReport, DetectionCounts, Estimate, build_report
from benchmarks.harness.report_file import read_report, write_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.spec import EngineSpec
from benchmarks.harness.summary import Ratio
from benchmarks.harness.tables import print_comparison
from refinemask.files import UserError


def sample(engine_seconds: float, detections: int) -> Sample:
    seconds = {phase: 0.001 for phase in PHASES} | {"engine": engine_seconds}
    return Sample(seconds, [detections], (64, 96))


def engine_run(spec: EngineSpec, name: str, precision: str, samples: list[Sample], peak: int | None) -> EngineRun:
    return EngineRun(
        spec=spec, name=name, precision=precision, samples=samples, peak_memory_bytes=peak, device_memory_bytes=None
    )


@pytest.fixture
def measurement(tmp_path: Path) -> Measurement:
    """Two engines, the second twice as fast in each of three rounds over two images."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    slow, fast = [sample(s, 3) for s in (0.1, 0.2, 0.4)], [sample(s, 4) for s in (0.05, 0.1, 0.2)]
    rounds = [Round(n % 2, [0, 1], [slow[n], fast[n]], 0.0, []) for n in range(3)]
    runs = [
        engine_run(EngineSpec(file), "PyTorch", "fp32", slow, 200 << 20),
        engine_run(EngineSpec(file, "openvino", "bf16"), "OpenVINO", "bf16", fast, None),
    ]
    batches = [[tmp_path / "a.png"], [tmp_path / "b.png"]]
    return Measurement(Settings(rounds=3, warmup=0), batches, [], rounds, runs, 0.01)


def test_figures(measurement: Measurement) -> None:
    slow, fast = build_report(measurement).engines
    assert (slow.fps, fast.fps) == (pytest.approx(5), pytest.approx(10))
    assert fast.fps_end_to_end == pytest.approx(1 / 0.104)
    assert (slow.speedup.p50, fast.speedup.p50) == (1, pytest.approx(2))
    assert fast.speedup_end_to_end.p50 == pytest.approx(0.204 / 0.104)
    assert (slow.peak_memory_mib, fast.peak_memory_mib) == (200, None)
    assert fast.detections_per_image == DetectionCounts(mean=4, min=4, max=4)
    assert fast.padded_sizes == {"64x96": 3}
    assert fast.samples_ms["engine"] == (50, 100, 200)
    assert fast.latency_ms["total"].min == pytest.approx(54)


def test_the_file_keeps_every_sample_and_names_no_directory(measurement: Measurement, tmp_path: Path) -> None:
    report, path = build_report(measurement), tmp_path / "out" / "report.json"
    write_report(report, path)
    assert read_report(ComparisonReport, path) == report
    text = path.read_text()
    assert str(tmp_path) not in text
    assert '"order": [0, 1]' in text
    assert '"engine": [100.0, 200.0, 400.0]' in text


def test_accuracy_is_in_the_file_only_if_it_was_measured(measurement: Measurement, tmp_path: Path) -> None:
    path, judged = tmp_path / "report.json", [{"segm": {"AP": ap}} for ap in (0.4, 0.398)]
    for accuracy in (None, judged):
        report = build_report(measurement, accuracy)
        write_report(report, path)
        found = [engine.get("accuracy") for engine in json.loads(path.read_text())["engines"]]
        missing: list[Any] = [None, None]
        assert found == (accuracy or missing)
        assert read_report(ComparisonReport, path) == report


def printed(report: ComparisonReport, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    print_comparison(report, Console(width=220))
    return capsys.readouterr()


def test_table(measurement: Measurement, capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = [{"segm": {"AP": ap}, "boundary": {"AP": ap / 2}} for ap in (0.4, 0.398)]
    out, err = printed(build_report(measurement, accuracy), capsys)
    row = next(line for line in out.splitlines() if "OpenVINO" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["OpenVINO bf16", "10.00", "2.00×", "9.62", "39.80", "-0.20", "19.90", "-0.10", "4.0", "unknown"]
    assert "64x96 (3)" in out
    assert err == ""


def test_intervals_stand_below_the_figures_and_the_table_fits(
    measurement: Measurement, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracy = [{kind: {"AP": ap} for kind in ("segm", "boundary")} for ap in (0.4, 0.398)]
    change = {kind: Estimate(-0.002, -0.0123, 0.0009) for kind in ("segm", "boundary")}
    details = [AccuracyDetail(ap={}, change=each, per_class={}, precision_recall={}) for each in ({}, change)]
    report = build_report(measurement, accuracy, details)
    second = replace(report.engines[1], speedup=Ratio(6, 1.9, 2, 2.1, 1.8, 2.25))
    print_comparison(replace(report, engines=(report.engines[0], second)), Console(width=120))
    lines = capsys.readouterr().out.splitlines()
    below = lines[next(number for number, line in enumerate(lines) if "OpenVINO" in line) + 1]
    cells = [cell.strip() for cell in below.strip("│").split("│")]
    assert cells == ["", "", "1.80…2.25", "", "", "-1.23…+0.09", "", "-1.23…+0.09", "", ""]


def test_images_are_counted_in_the_table_and_those_left_out_are_in_the_file(
    measurement: Measurement, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Engines, 2 images (speed-up" in printed(build_report(measurement), capsys)[0]
    report, path = build_report(replace(measurement, skipped=[tmp_path / "c.png"])), tmp_path / "report.json"
    assert "Engines, 2 images, 1 skipped and not counted (speed-up" in printed(report, capsys)[0]
    write_report(report, path)
    assert read_report(ComparisonReport, path) == report
    assert json.loads(path.read_text())["skipped"] == ["c.png"]


def test_without_an_object_to_find_there_is_no_figure(
    measurement: Measurement, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = [{kind: {"AP": -1.0} for kind in ("segm", "boundary")} for _ in range(2)]
    out, _ = printed(build_report(measurement, nothing), capsys)
    row = next(line for line in out.splitlines() if "OpenVINO" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][4:8] == ["–"] * 4


def test_a_busy_machine_is_warned_of(measurement: Measurement, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = printed(replace(build_report(measurement), foreign_load=0.31), capsys)
    assert "warning: other processes used 31% of the CPUs" in err


def test_a_gpu_and_its_energy_are_in_the_file_and_below_the_table(
    measurement: Measurement, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = [DeviceState(sm_mhz=clock, throttling=()) for clock in (1980, 1500, 1980)]
    rounds = [replace(each, state=state) for each, state in zip(measurement.rounds, states, strict=True)]
    runs = [replace(measurement.runs[0], joules=60.0), measurement.runs[1]]
    report, path = build_report(replace(measurement, rounds=rounds, runs=runs)), tmp_path / "report.json"
    assert [engine.joules_per_image for engine in report.engines] == [20, None]
    write_report(report, path)
    assert read_report(ComparisonReport, path) == report
    assert ["joules" in engine for engine in json.loads(path.read_text())["engines"]] == [True, False]
    out, err = printed(report, capsys)
    assert "GPU: 1500–1980 MHz SM\nenergy per image: PyTorch fp32 20 J (of 60 J in all)\n" in out
    assert "warning: the GPU changed its clock between 1500 and 1980 MHz" in err


def test_without_a_gpu_a_report_says_nothing_of_one(measurement: Measurement, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(build_report(measurement), path)
    assert "state" not in path.read_text()
    assert "joules" not in path.read_text()


def test_measures_real_engines_and_collects_each_image_once(toy_onnx: Path, pictures: list[Path]) -> None:
    collected = []
    engines = [str(toy_onnx), f"{toy_onnx}@onnxruntime"]
    found = measure(engines, pictures, Settings(threads=1, batch=2, rounds=3), lambda *each: collected.append(each))
    report = build_report(found)
    assert [each.batch for each in report.rounds] == [0, 1, 0]
    assert [len(engine.samples_ms["engine"]) for engine in report.engines] == [3, 3]
    assert [(engine, image) for engine, image, _ in collected] == [
        *((0, 0), (0, 1), (1, 0), (1, 1)),
        *((0, 2), (0, 3), (1, 2), (1, 3)),
    ]
    assert all(len(results) == 3 for *_, results in collected)
    assert collected[0][2] == collected[2][2] != collected[1][2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"threads": 0}, "threads is 0"), ({"rounds": 0}, "rounds is 0"), ({"warmup": -1}, "warmup is -1")],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(**settings)


def test_nothing_to_measure(toy_onnx: Path, pictures: list[Path]) -> None:
    with pytest.raises(UserError, match="0 engines and 4 images"):
        measure([], pictures, Settings())
    with pytest.raises(UserError, match="4 images do not fill batches of 3"):
        measure([str(toy_onnx)], pictures, Settings(batch=3))
