"""Results of detectors that are not run stand beside engines, with the figures of the same detections."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import ap, compare, fps
from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.report_file import read_report
from benchmarks.harness.settings import Settings
from refinemask.evaluate import Args as EvaluateArgs
from refinemask.evaluate import main as evaluate


@pytest.fixture
def theirs(tmp_path: Path, toy_onnx: Path, annotations: Path, pictures: list[Path]) -> Path:
    """What the engine finds, as another tool's results."""
    path = tmp_path / "theirs.json"
    args = EvaluateArgs(model=toy_onnx, annotations=annotations, images=pictures[0].parent, threads=1, results=path)
    assert evaluate(args) == 0
    return path


def run(
    command: Any,
    engines: list[str],
    annotations: Path,
    pictures: list[Path],
    output: Path | None = None,
    require: tuple[str, ...] = (),
) -> int:
    further: dict[str, Any] = {"threads": 1} if command is ap else {"settings": Settings(threads=1, warmup=0)}
    further["require"] = require
    where = {"annotations": annotations, "images": pictures[0].parent, "output": output}
    return command.main(command.Args(engines=tuple(engines), **where, **further))


def test_the_same_detections_have_the_same_figures(
    toy_onnx: Path, annotations: Path, pictures: list[Path], theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines, output = [str(toy_onnx), f"{theirs}@yolo:4", f"{theirs}@quiet [/v2]"], annotations.with_name("report.json")
    capsys.readouterr()
    assert run(compare, engines, annotations, pictures, output) == 0
    report = read_report(ComparisonReport, output)
    (engine,), others = report.engines, report.others
    assert others is not None
    yolo, quiet = others
    assert yolo.accuracy == quiet.accuracy == engine.accuracy
    assert 0.1 < yolo.accuracy["segm"]["AP"] < 1
    assert yolo.detections_per_image == engine.detections_per_image
    assert (yolo.engine, yolo.name, yolo.stated_latency_ms, yolo.stated_fps) == ("theirs.json@yolo", "yolo", 4, 250)
    assert yolo.stated_speedup == engine.latency_ms["engine"].p50 / 4
    assert (quiet.stated_latency_ms, quiet.stated_fps, quiet.stated_speedup) == (None, None, None)
    assert report.provenance.files.keys() == {"toy.onnx", "theirs.json"}
    out = capsys.readouterr().out
    assert "250.00 stated" in " ".join(out.split())
    assert "quiet [/v2]" in out
    assert "+0.00" in out


def test_images_without_results_are_counted_and_most_may_not_be_missing(
    toy_onnx: Path, annotations: Path, pictures: list[Path], theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = annotations.with_name("report.json")
    results = json.loads(theirs.read_text())
    capsys.readouterr()
    for without in (2, 3):
        some = [entry for entry in results if entry["image_id"] >= 10 + without]
        theirs.write_text(json.dumps(some))
        code = run(ap, [str(toy_onnx), str(theirs)], annotations, pictures, output)
        out, err = capsys.readouterr()
        if without < 3:
            assert code == 0
            assert f"{without} of 4 images have no result; they count as images in which nothing was found" in err
            report = read_report(ComparisonReport, output)
            assert report.others is not None
            assert report.others[0].images_without_results == report.others[0].detections_per_image.min + without
            assert "not run" in out
    assert code == 2
    assert "theirs.json: 3 of the 4 images have no result; expected results of the images that are compared" in err


def test_boxes_alone_have_figures_of_boxes(
    toy_onnx: Path, annotations: Path, pictures: list[Path], theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads(theirs.read_text())
    theirs.write_text(json.dumps([entry | {"segmentation": None} for entry in results]))
    output = annotations.with_name("report.json")
    assert run(compare, [str(toy_onnx), str(theirs)], annotations, pictures, output) == 0
    report = read_report(ComparisonReport, output)
    assert report.others is not None
    assert report.engines[0].accuracy is not None
    assert report.others[0].accuracy == {"bbox": report.engines[0].accuracy["bbox"]}
    assert run(ap, [str(toy_onnx), str(theirs)], annotations, pictures) == 0
    assert "only the figures of boxes are measured" in capsys.readouterr().err


@pytest.mark.parametrize("command", [ap, compare])
def test_gates_are_of_the_engines_and_of_results_that_are_named(
    command: ModuleType,
    toy_onnx: Path,
    annotations: Path,
    pictures: list[Path],
    theirs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    worse, output = theirs.with_name("worse.json"), annotations.with_name("report.json")
    worse.write_text(json.dumps(json.loads(theirs.read_text())[::2]))
    engines = [str(toy_onnx), f"{worse}@worse", str(toy_onnx), f"{theirs}@same"]
    gates = "ΔAP >= 0", "ΔAP[same] >= 0", "Δbox_ap[worse] >= -1"
    capsys.readouterr()
    assert run(command, engines, annotations, pictures, output, gates) == 3
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not met: ")]
    assert line.startswith("not met: Δbox_ap[worse] >= -1: worse.json@worse has -")
    outcomes = read_report(ComparisonReport, output).requirements or ()
    assert [(each.engine, each.met) for each in outcomes] == [
        ("toy.onnx", True), ("theirs.json@same", True), ("worse.json@worse", False)
    ]  # fmt: skip


def test_what_results_cannot_be_is_refused_before_anything_runs(
    annotations: Path, pictures: list[Path], theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(compare, [str(theirs), "absent.onnx"], annotations, pictures) == 2
    assert "theirs.json: the first is the baseline, which is run; name an engine before" in capsys.readouterr().err
    assert run(compare, ["absent.onnx", str(theirs)], annotations, pictures, theirs) == 2
    assert "would be overwritten" in capsys.readouterr().err
    theirs.write_text(json.dumps([entry | {"score": "high"} for entry in json.loads(theirs.read_text())]))
    assert run(ap, ["absent.onnx", str(theirs)], annotations, pictures) == 2
    assert "theirs.json: results of image 10: result 0: score: expected" in capsys.readouterr().err
    assert fps.main(fps.Args(engines=(f"{theirs}@x:3", "absent.onnx"), images=pictures[0].parent)) == 2
    assert "is a results file, of which no speed can be measured" in capsys.readouterr().err
