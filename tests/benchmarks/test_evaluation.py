"""The benchmark of evaluation compares evaluators on the same files."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import evaluation
from benchmarks.evaluation import Args, main
from benchmarks.evaluators import contender
from benchmarks.evaluators.contender import Name, Run, run
from tests.support.tolerances import TOLERANCES

SMALL = Args(images=12, detections=30, rounds=1)
EQUAL = TOLERANCES["average precision of another evaluator"].absolute


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests need of a process of its own is its answer."""
    monkeypatch.setattr(evaluation, "call_in_child", lambda _, function, *args: function(*args))


def test_every_round_is_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replace(SMALL, iou_types=("bbox",), evaluators=("ours", "pycocotools"), rounds=2)) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["evaluators"]) == ["ours", "pycocotools"]
    for each in report["evaluators"].values():
        assert len(each["all_seconds"]) == 2
        assert min(each["all_seconds"]) <= each["seconds"] <= max(each["all_seconds"])
        # Neither this process, which holds more, nor nothing.
        assert 20 < each["peak_mib"] < 200
    assert 0 < report["figures"]["bbox"]["AP"] < 1


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("iou_types", [("bbox", "segm"), ("boundary",)])
def test_the_evaluators_agree(iou_types: tuple[contender.IoUType, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replace(SMALL, iou_types=iou_types)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["largest_difference"] <= EQUAL
    assert set(report["figures"]) == set(iou_types)
    assert {"ours", "faster-coco-eval"} <= set(report["evaluators"])
    assert ("pycocotools" in report["evaluators"]) == ("boundary" not in iou_types)
    assert report["evaluators"].keys() | report["not_run"].keys() == set(contender.CONTENDERS)


def test_what_does_not_run_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {name: each.why_not(("boundary",)) for name, each in contender.CONTENDERS.items()}
    assert reasons["ours"] is None
    assert reasons["pycocotools"] == "has no boundary AP"
    assert main(replace(SMALL, iou_types=("boundary",), evaluators=("pycocotools",))) == 2
    assert capsys.readouterr().err == "error: no evaluator can run: pycocotools has no boundary AP\n"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert contender.CONTENDERS["vernier"].why_not(("bbox",)) == "is not installed; pip install vernier"


@pytest.mark.usefixtures("in_this_process")
def test_a_difference_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(name: Name, annotations: Path, results: Path, iou_types: tuple[contender.IoUType, ...], most: int) -> Run:
        right = run(name, annotations, results, iou_types, most)
        return replace(right, figures={"bbox": {"AP": 0.5}}) if name == "ours" else right

    monkeypatch.setattr(evaluation, "run", wrong)
    assert main(replace(SMALL, iou_types=("bbox",))) == 1
    assert "the figures differ" in capsys.readouterr().err
