"""A known law is found again, and the best setting under a bound."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness.report_file import read_report, write_report
from benchmarks.harness.summary import percentiles
from benchmarks.scaling import __main__ as scaling
from benchmarks.scaling.best import best_settings, judged
from benchmarks.scaling.figure import draw
from benchmarks.scaling.growth import fit_growth
from benchmarks.scaling.report import ScalingReport
from tests.support.scaling_reports import ENGINES, make_scaling


@pytest.fixture
def report() -> ScalingReport:
    found = make_scaling()
    return replace(found, growth=fit_growth(found))


def test_exponents_and_costs_are_found_again(report: ScalingReport) -> None:
    exponents = {"size": 1.0, "batch": 0.8, "threads": -0.5}
    fits = {(each.axis, each.engine): each for each in report.growth if each.phase == "engine"}
    assert fits.keys() == {(axis, engine) for axis in ("detections", *exponents) for engine in ENGINES}
    for (axis, engine), fit in fits.items():
        factor = 1 / (1 + ENGINES.index(engine)) / 2**0.5
        slope = exponents.get(axis, factor)
        assert fit.slope.value == pytest.approx(slope, rel=1e-9)
        assert fit.slope.low < slope < fit.slope.high
        assert (fit.fixed_ms is None) == (axis in exponents)
        if fit.fixed_ms is not None:
            assert fit.fixed_ms.value == pytest.approx(40 * factor, rel=1e-9)
        assert fit.misfit == pytest.approx(0, abs=1e-9)


def test_what_is_no_power_misfits() -> None:
    bent = make_scaling(lambda setting, factor: 100 * factor * (2 if setting.size == (288, 288) else 1))
    fits = {each.axis: each for each in fit_growth(bent) if each.phase == "engine"}
    assert fits["size"].misfit > 0.2
    assert fits["threads"].misfit == pytest.approx(0, abs=1e-9)


def test_the_best_has_the_highest_throughput_below_the_bound(report: ScalingReport) -> None:
    def best(bound: float) -> list[tuple[str, int, tuple[int, int]]]:
        return [(each.point.engine, each.setting.batch, each.setting.size) for each in best_settings(report, bound)]

    openvino = ENGINES[2]
    assert best(1e6)[0] == (openvino, 2, (384, 384))
    assert best(30)[0] == (openvino, 1, (384, 384))
    assert best(20) == [(openvino, 1, (288, 288)), (openvino, 1, (192, 192))]
    assert best(1) == []


def test_few_samples_are_judged_by_p90() -> None:
    assert judged(percentiles(range(99)))[0] == "p90"
    assert judged(percentiles(range(100))) == ("p99", pytest.approx(98.01))


def test_the_file_and_the_figure(report: ScalingReport, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    write_report(report, output)
    assert read_report(ScalingReport, output) == report
    png, svg = draw(replace(report, series={axis: report.series[axis] for axis in ("base", "detections")}), output)
    assert png.stat().st_size > 10_000
    text = svg.read_text()
    draw(replace(report, series={"base": report.series["base"]}, growth=()), output)
    assert svg.read_text() != text


def test_the_command_names_the_best_and_fails_without_one(
    report: ScalingReport, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "measure_scaling", lambda plan: report)

    def run(bound: str) -> tuple[int, str, str]:
        words = ["a.onnx", "--images", "pictures", "--latency", bound]
        monkeypatch.setattr(sys, "argv", ["scaling", *words])
        return scaling.main(), *capsys.readouterr()

    code, out, _ = run("30")
    assert code == 0
    assert f"under 30 ms at 384x384: {ENGINES[2]}, batch 1, 2 threads: 41.92 images/s, p90 of 7 samples" in out
    assert f"{ENGINES[2]}, 4: not possible: batch is 4; the file takes 1 to 2" in out
    code, _, err = run("1")
    assert (code, err) == (3, "no measured setting keeps 1 ms (--latency)\n")
