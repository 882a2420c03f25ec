"""The tables show every kind of result, and what has none."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu_suite.all_goals import GOALS
from benchmarks.gpu_suite.goals import judge
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.gpu_suite.tables import print_suite
from benchmarks.harness.report_file import read_report, write_report
from tests.support.gpu_reports import full_report


def test_every_kind_of_result_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = full_report()
    print_suite(replace(report, goals=judge(GOALS, report)))
    printed = capsys.readouterr().out
    for part in (
        "failed check: bad: 2.00e+00, limit 1e+00",
        "memcheck: Invalid write",
        "plain passed, memcheck FAILED",
        "copy 3 TB/s; products fp32 50, tf32 400, fp16 800 TFLOP/s",
        "torch.compile fp16, CUDA graph",
        "kernels of compiled fp16",
        "nuclei, 24 images",
        "RoIAlign box head 7×7, float16, planar",
        "500 of 500 strings are the host's",
        "180 pipelined",
        "reached: G1 eager fp32 / compiled fp16, batch 1: 6.5, wanted at least 6 ×",
        "missed: G8 host time that nothing hides, share of an image: 0.1, wanted at most 0.05",
        "not run: G2 ONNX Runtime's TensorRT provider / compiled fp16, batch 1, wanted at least 1.5 ×: no part runs",
        "failed: numerics: 1 of 2 checks passed",
    ):
        assert part in printed
    assert printed.count(": no part runs") == 2


def test_a_report_without_results_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    full = full_report()
    empty = GpuReport(provenance=full.provenance, device="cuda", tiny=False, seconds=0, outcomes=full.outcomes)
    print_suite(empty)
    assert capsys.readouterr().out == "failed: numerics: 1 of 2 checks passed\n"


def test_a_stored_report_is_read_again(tmp_path: Path) -> None:
    report = full_report()
    report = replace(report, goals=judge(GOALS, report))
    write_report(report, tmp_path / "gpu_suite.json")
    assert read_report(GpuReport, tmp_path / "gpu_suite.json") == report
