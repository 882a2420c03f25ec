"""The benchmark of calibrations on a tiny model, with evaluations that are only counted."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

import benchmarks.calibration as benchmark
from benchmarks.calibration import Args, CalibrationReport, Trial, main, training_images, trials
from benchmarks.harness.report import Accuracy
from benchmarks.harness.report_file import read_report
from export.calibration.methods import Method
from export.calibration.ranges import METHOD
from refinemask.bundled import NUCLEI
from refinemask.contract import Metadata
from refinemask.data.coco import read_coco

METHODS: tuple[Method, ...] = get_args(Method)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was evaluated, by how it was calibrated; the AP is that of the number of evaluations before."""
    files: list[str] = []

    def accuracy(file: Path, args: Args) -> tuple[Accuracy, str]:
        files.append(Metadata.of_file(file).calibration)
        return {kind: {"AP": 0.5 - len(files) / 100} for kind in benchmark.KINDS}, "counted"

    monkeypatch.setattr(benchmark, "_accuracy", accuracy)
    # The search by entropy takes a second for each tensor.
    monkeypatch.setattr(benchmark, "choose_ranges", lambda histograms, method: dict.fromkeys(histograms, 1.0))
    return files


@pytest.fixture
def args(tiny_files: tuple[Path, Path], tmp_path: Path) -> Args:
    return Args(model=tiny_files[1], output=tmp_path / "a.json", count=2, counts=(1,), seeds=2, limit=3)


def test_every_method_and_every_choice_is_judged_against_the_exported_file(
    args: Args, judged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 0
    assert judged == ["", *METHODS, METHOD, METHOD]
    report = read_report(CalibrationReport, args.output)
    assert [each.trial for each in report.trials] == trials(args)
    assert report.images == 3
    out = capsys.readouterr().out
    assert f"{len(METHODS) + 2} of {len(METHODS) + 2} calibrations evaluated" in out
    # The second evaluation is one hundredth below the first, in points of AP.
    assert "-1.00" in out
    assert "-7.00 to -6.00" in out


def test_an_interrupted_run_goes_on(args: Args, judged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = benchmark.write_report

    def write(report: CalibrationReport, path: Path) -> None:
        real(report, path)
        if len(report.trials) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(benchmark, "write_report", write)
        assert main(args) == 130
    assert main(args) == 0
    assert judged == ["", *METHODS, METHOD, METHOD]
    assert main(args) == 0
    assert len(judged) == len(METHODS) + 3


def test_a_report_of_another_command_is_not_gone_on_with(
    args: Args, judged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 0
    for other in (replace(args, precision="fp8"), replace(args, count=1), replace(args, seeds=1)):
        assert main(other) == 2
        assert "is of another model or of other options; name another output" in capsys.readouterr().err
    args.output.write_text("{}")
    assert main(args) == 2


def test_choices_of_images_differ_by_seed_and_are_training_images() -> None:
    names = {entry.file_name for entry in read_coco(NUCLEI / "annotations" / "instances_train.json").images}
    chosen = [training_images(Trial("mse", 8, seed)).calibration for seed in (None, 0, 1, 0)]
    assert chosen[1] == chosen[3]
    assert len({frozenset(each) for each in chosen}) == 3
    for each in chosen:
        assert len(set(each)) == 8
        assert {path.name for path in each} <= {Path(name).name for name in names}
