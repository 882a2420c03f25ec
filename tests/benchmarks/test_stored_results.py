"""The reports in the repository are what today's commands write."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.batch_job.report import BatchJobReport
from benchmarks.breakdown.report import BreakdownReport
from benchmarks.calibration import CalibrationReport
from benchmarks.data_loading import DataLoadingReport
from benchmarks.efficiency.report import EfficiencyReport
from benchmarks.evaluation import EvaluationReport
from benchmarks.fine_tune import FineTuneReport
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.report_file import read_report, to_json, write_report
from benchmarks.paste import PasteReport
from benchmarks.peers.report import TorchvisionReport
from benchmarks.preprocess import PreprocessReport
from benchmarks.reading import ReadingReport
from benchmarks.savings.catalogue import SAVINGS
from benchmarks.savings.report import SavingsReport
from benchmarks.scaling.report import ScalingReport
from benchmarks.serving.report import ServingReport
from benchmarks.streaming.report import StreamingReport
from benchmarks.training import TrainingReport

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
KINDS: dict[str, type] = {
    "coco-mini-other-models": TrainingReport,
    "coco-mini": TrainingReport,
    "cpu-batch-job-long": BatchJobReport,
    "cpu-batch-job": BatchJobReport,
    "cpu-breakdown-mask-rcnn": BreakdownReport,
    "cpu-breakdown": BreakdownReport,
    "cpu-calibration": CalibrationReport,
    "cpu-data-loading": DataLoadingReport,
    "cpu-evaluation-boundary": EvaluationReport,
    "cpu-evaluation-large": EvaluationReport,
    "cpu-evaluation": EvaluationReport,
    "cpu-nuclei-int8": ComparisonReport,
    "cpu-nuclei-precision": ComparisonReport,
    "cpu-nuclei-quantised": ComparisonReport,
    "cpu-nuclei": ComparisonReport,
    "cpu-paste": PasteReport,
    "cpu-peers": TorchvisionReport,
    "cpu-preprocess": PreprocessReport,
    "cpu-r50-800x1344": ComparisonReport,
    "cpu-r50-int8": ComparisonReport,
    "cpu-reading": ReadingReport,
    "cpu-savings": SavingsReport,
    "cpu-scaling": ScalingReport,
    "cpu-serving": ServingReport,
    "cpu-streaming": StreamingReport,
    "efficiency-800x1344": EfficiencyReport,
    "fine-tune": FineTuneReport,
    "h200-suite": GpuReport,
    "nuclei-other-models": TrainingReport,
    "nuclei": TrainingReport,
}
TABLES = "fuzz", "kills", "kills-seed1", "soak", "soak-pipeline"
"""Tables of numbers: by what was tried, and then by what was counted. They come with a provenance."""


def test_every_stored_report_has_a_kind() -> None:
    assert {path.stem for path in RESULTS.glob("*.json")} - set(TABLES) == set(KINDS)


@pytest.mark.parametrize("name", TABLES)
def test_a_stored_table_holds_numbers_and_says_where_they_come_from(name: str) -> None:
    stored = RESULTS / f"{name}.json"
    if not stored.exists():
        pytest.skip("not measured yet")
    table = json.loads(stored.read_text())
    assert {"date", "revision"} <= set(table.pop("provenance"))
    assert table
    for counts in table.values():
        assert counts
        assert all(type(number) in (int, float) for number in counts.values())
        assert counts.get("failed", 0) == 0


@pytest.mark.parametrize("name", KINDS)
def test_read_and_written_again_a_report_is_the_same(name: str, tmp_path: Path) -> None:
    stored = RESULTS / f"{name}.json"
    report: Any = read_report(KINDS[name], stored)
    # Files of earlier versions lack what is unknown in them.
    assert without_unknown(to_json(report)) == without_unknown(json.loads(stored.read_text()))
    write_report(report, tmp_path / "again.json")
    assert read_report(KINDS[name], tmp_path / "again.json") == report


def without_unknown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_unknown(item) for key, item in value.items() if item not in (None, [])}
    return [without_unknown(item) for item in value] if isinstance(value, list) else value


def test_the_stored_savings_are_those_of_the_catalogue() -> None:
    report = read_report(SavingsReport, RESULTS / "cpu-savings.json")
    catalogue = list(SAVINGS.values())
    assert report.savings
    for each in report.savings:
        saving = catalogue[each.number - 1]
        assert (each.name, each.exactness) == (saving.name, saving.exactness)
