"""The benchmark of evaluation compares two routes to the same figures."""

import json
from typing import Literal

import pytest

from benchmarks import evaluation
from benchmarks.evaluation import Args, main
from tests.support.tolerances import TOLERANCES


@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
def test_both_routes_agree(iou_type: Literal["segm", "bbox"], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(images=12, detections=30, iou_type=iou_type)) == 0
    report = json.loads(capsys.readouterr().out)
    assert 0 < report["AP"] < 1
    assert report["largest_difference"] <= TOLERANCES["average precision of another evaluator"].absolute
    assert set(report["processor_seconds"]) == {"pycocotools", "ours"}


def test_a_difference_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evaluation, "usual", lambda *_: [0.5] * 6)
    assert main(Args(images=2, detections=4)) == 1
    assert "the figures differ" in capsys.readouterr().err
