"""Detections are written with run lengths that NumPy alone makes, and scored here or elsewhere."""

import json

import pytest

import engines
from benchmarks.gpu_suite import accuracy
from benchmarks.gpu_suite.accuracy import ANNOTATIONS, CHECKPOINT, DIRECTORY, AccuracyReport, run_accuracy
from benchmarks.gpu_suite.contenders import eager
from benchmarks.gpu_suite.context import NotRunError
from refinemask.bundled import NUCLEI
from refinemask.data.coco import read_coco
from refinemask.evaluation.coco import evaluate_coco
from tests.benchmarks.gpu_suite.conftest import MakeContext


@pytest.fixture(autouse=True)
def one_contender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "_contenders", lambda _: (eager("fp32"),))


def test_the_figures_are_those_of_the_engine_s_predictions(make_context: MakeContext) -> None:
    report = run_accuracy(make_context())
    dataset = read_coco(ANNOTATIONS)
    images = dataset.images[: report.images]
    paths = [NUCLEI / "images" / image.file_name for image in images]
    predictions = engines.load(CHECKPOINT).predict(paths)
    results = {image.id: prediction.to_coco(image.id) for image, prediction in zip(images, predictions, strict=True)}
    figures = evaluate_coco(dataset, results, iou_types=("segm", "bbox"))
    [contender] = report.contenders
    assert contender.mask_ap == pytest.approx(100 * figures["segm"]["AP"], abs=1e-3)
    assert contender.box_ap == pytest.approx(100 * figures["bbox"]["AP"], abs=1e-3)
    assert figures["segm"]["AP"] > 0.4


def test_what_cannot_be_scored_here_is_scored_from_the_files(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = make_context()
    directory = context.plan.output / DIRECTORY
    monkeypatch.setattr(accuracy, "SCORER", "no_such_package")
    with pytest.raises(NotRunError, match=rf"^needs no_such_package; .*accuracy {directory}$"):
        run_accuracy(context)
    unscored = context.report(AccuracyReport)
    assert unscored is not None
    assert [(each.file, each.mask_ap) for each in unscored.contenders] == [("eager-fp32.json", None)]
    assert unscored.headline == "mask AP: not scored"
    assert accuracy.main([str(directory)]) == 0
    printed = json.loads(capsys.readouterr().out)["contenders"]
    assert [each["contender"] for each in printed] == ["eager fp32"]
    assert printed[0]["mask_ap"] > 0


def test_a_directory_without_detections(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert accuracy.main([str(tmp_path_factory.mktemp("empty"))]) == 2
    assert accuracy.main([]) == 2
