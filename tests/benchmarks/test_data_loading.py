"""The benchmark of data loading lets every augmentation take its turn."""

import json
from pathlib import Path

import pytest

from benchmarks.data_loading import AUGMENTATIONS, Args, main


def test_every_augmentation_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(rounds=2, images=2, output=tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == json.loads(capsys.readouterr().out)
    assert list(report["images_per_second"]) == list(AUGMENTATIONS)
    assert min(report["images_per_second"].values()) > 0
    assert set(report["ratio"]) == set(AUGMENTATIONS) - {"none"}
    assert all(ratio["n"] == 2 for ratio in report["ratio"].values())


def test_no_round_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(rounds=0)) == 2
    assert capsys.readouterr().err.startswith("error: ")
