"""The benchmark of preprocessing compares two routes to the same input."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import preprocess
from benchmarks.preprocess import Args, main
from tests.support.tolerances import TOLERANCES


def test_both_routes_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(rounds=2)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["largest_difference"] <= TOLERANCES["normalised pixels"].absolute
    assert report["bytes"]["usual"] == 4 * report["bytes"]["ours"]
    assert report["input"][0] == 3
    assert report["input"][1] % 32 == report["input"][2] % 32 == 0
    assert report["ratio"]["n"] == 2


def test_a_difference_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ours = preprocess.our_route
    monkeypatch.setattr(preprocess, "our_route", lambda image: np.roll(ours(image), 1))
    assert main(Args(rounds=1)) == 1
    assert "the network's input differs" in capsys.readouterr().err


def test_a_missing_image_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(image=tmp_path / "none.jpg")) == 2
    assert capsys.readouterr().err.startswith("error: ")
