"""The benchmark of fine-tuning: two classes from the bundled nuclei, and two runs of the same budget."""

import json
from pathlib import Path

import pytest

from benchmarks import fine_tune
from benchmarks.fine_tune import CLASSES, Args, FineTuneReport, main, two_classes
from benchmarks.harness.report_file import read_report
from refinemask.data.coco import CocoDataset
from refinemask.evaluation.metrics import METRICS


def test_nuclei_are_divided_at_the_median_of_the_training_images(tmp_path: Path) -> None:
    threshold, contents = two_classes(tmp_path, None)
    training, held_out = (contents[name]["annotations"] for name in ("train", "val"))
    assert (len(contents["train"]["images"]), len(contents["val"]["images"])) == (183, 46)
    labels = [entry["category_id"] for entry in training]
    # Nuclei of exactly the median area are large, so the halves need not be equal.
    assert 0.45 < labels.count(1) / len(labels) <= 0.5
    assert all((entry["area"] >= threshold) == (entry["category_id"] == 2) for entry in (*training, *held_out))
    read: CocoDataset = METRICS["coco"].read(tmp_path / "instances_val.json")
    assert read.class_names == CLASSES


@pytest.mark.slow  # Two trainings.
def test_both_runs_are_reported_without_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "report.json"
    assert main(Args(output=output, epochs=1, limit=4, threads=1)) == 0
    assert "begins with" in capsys.readouterr().out
    report = read_report(FineTuneReport, output)
    assert list(report.accuracy) == list(fine_tune.STARTS)
    assert all({"bbox", "segm", "boundary"} == set(figures) for figures in report.accuracy.values())
    assert (report.images, report.epochs) == ({"train": 4, "val": 4}, 1)
    assert str(Path.cwd()) not in output.read_text()
    assert str(tmp_path) not in output.read_text()
    assert json.loads(output.read_text())["provenance"]["files"].keys() == {"refinemask-nuclei.safetensors"}


@pytest.mark.parametrize("option", ["epochs", "limit", "threads"])
def test_a_number_below_one_is_one_line(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {option: 0}
    assert main(Args(output=tmp_path / "r.json", **numbers)) == 2
    assert f"--{option} is 0; expected at least 1" in capsys.readouterr().err
