"""The evaluation command: figures for a checkpoint, one line for a mistake."""

import json
import re
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.harness.random_detector import randomize
from refinemask.data.categories import COCO
from refinemask.evaluate import Args, main
from refinemask.modeling.detector import Detector
from refinemask.weights import save_detector
from tests.support.tiny_detector import TINY, make_tiny_detector
from tests.support.tolerances import assert_near


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


@pytest.fixture
def args(tmp_path: Path, checkpoint: Path) -> Args:
    """Three images with a square each."""
    images, annotations = [], []
    for number in (1, 2, 3):
        picture = np.random.default_rng(number).integers(0, 256, (60, 80 + number, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80 + number})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 3,
                "bbox": [10, 10, 30, 30],
                "area": 900,
                "segmentation": [[10, 10, 40, 10, 40, 40, 10, 40]],
            }
        )
    categories = [{"id": 3, "name": "square"}, {"id": 7, "name": "disk"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return Args(model=checkpoint, annotations=tmp_path / "annotations.json", images=tmp_path, threads=1)


def here(args: Args) -> Path:
    """The folder of everything."""
    return args.annotations.parent


def test_figures_results_and_continuation(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here(args)
    args = replace(args, output=folder / "o.json", results=folder / "r.json", predictions=folder / "p.jsonl")
    assert main(args) == 0
    report = json.loads((folder / "o.json").read_text())
    assert report["images"] == 3
    assert report["skipped"] == 0
    assert report["max_detections"] == 100
    assert list(report["figures"]) == ["bbox", "segm", "boundary"]
    results = json.loads((folder / "r.json").read_text())
    assert results
    assert {result["category_id"] for result in results} <= {3, 7}
    table = capsys.readouterr().out
    assert all(word in table for word in ("box", "mask", "boundary", "AP50", "AR10", "PyTorch", "fp32"))
    written = (folder / "p.jsonl").read_bytes()
    (folder / "2.png").unlink()
    assert main(args) == 0, "all images are in the predictions already"
    assert (folder / "p.jsonl").read_bytes() == written
    assert json.loads((folder / "o.json").read_text()) == report


def test_without_a_model_the_results_of_another_tool_are_measured(
    args: Args, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, output = args.annotations.with_name("r.json"), args.annotations.with_name("o.json")
    assert main(replace(args, results=results, output=output)) == 0
    figures = json.loads(output.read_text())["figures"]
    theirs = Args(annotations=args.annotations, results=results, output=output)
    capsys.readouterr()
    assert main(theirs) == 0
    assert "r.json · results of another tool · coco · 3 images" in capsys.readouterr().out
    report = json.loads(output.read_text())
    assert report["figures"] == figures
    assert report["model"] == "r.json"
    assert report["sha256"].keys() == {"results", "annotations"}
    # Of several processes one measures and writes.
    output.unlink()
    monkeypatch.setattr("refinemask.distributed.world", lambda: (1, 2))
    assert main(theirs) == 0
    assert not output.exists()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"results": None}, "error: MODEL is missing: expected a checkpoint or an exported file, or --results"),
        (
            {"results": Path("none.json")},
            "error: none.json: no such file; without MODEL, --results is the results file",
        ),
        ({"tile": 64}, "error: --tile is for running a MODEL, and none is given"),
        ({"resamples": -1}, "error: --resamples is -1; expected at least 0"),
        ({"device": "cuda"}, "error: --device is for running a MODEL, and none is given"),
        ({"model": Path("r.json")}, "error: r.json: is no model; a results file is measured without MODEL: --results"),
        ({"model": Path("m.onnx")}, "error: --images is missing: expected the folder of the annotated images"),
    ],
)
def test_what_results_are_for_cannot_be_mistaken(
    args: Args, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = args.annotations.with_name("r.json")
    results.write_text("[]")
    assert main(replace(Args(annotations=args.annotations, results=results), **changes)) == 2
    assert capsys.readouterr().err.startswith(message)
    assert results.read_text() == "[]"


def test_a_precision_is_named_and_its_predictions_are_its_own(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    args = replace(args, predictions=here(args) / "p.jsonl", iou_types=("bbox",), precision="bf16")
    assert main(args) == 0
    assert "PyTorch bf16" in capsys.readouterr().out
    assert main(replace(args, precision=None)) == 2
    assert "p.jsonl" in capsys.readouterr().err
    assert main(replace(args, precision="tf32")) == 2
    assert "tf32 does not run on a CPU" in capsys.readouterr().err


def test_detections_and_threshold_are_named_and_their_predictions_are_their_own(
    args: Args, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, output = here(args) / "p.jsonl", here(args) / "o.json"
    args = replace(args, predictions=kept, results=here(args) / "r.json", output=output, iou_types=("bbox",))
    asked = replace(args, detections=2, score_threshold=0.75)
    assert main(asked) == 0
    assert "number of detections 2 · score threshold 0.75" in " ".join(capsys.readouterr().out.split())
    report = json.loads(output.read_text())
    assert (report["detections"], report["score_threshold"]) == (2, 0.75)
    results = json.loads((here(args) / "r.json").read_text())
    assert results
    assert max(Counter(result["image_id"] for result in results).values()) <= 2
    assert min(result["score"] for result in results) > 0.75
    assert main(asked) == 0, "the file continues with the same settings"
    capsys.readouterr()
    for other in ({"detections": None}, {"score_threshold": None}, {"detections": 3}, {"score_threshold": 0.8}):
        assert main(replace(asked, **other)) == 2
        assert "p.jsonl: holds predictions of another" in capsys.readouterr().err
    kept.unlink()
    # The checkpoint's own numbers are no settings of their own.
    assert main(replace(args, detections=12, score_threshold=0.7)) == 0
    assert "detections" not in json.loads(output.read_text())
    assert main(args) == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"detections": 0}, "--detections is 0; expected 1 to 3840"),
        ({"score_threshold": 2.0}, "--score-threshold is 2.0; expected a number from 0 to 1"),
    ],
)
def test_wrong_detections_and_thresholds_are_one_line(
    args: Args, capsys: pytest.CaptureFixture[str], asked: dict[str, Any], message: str
) -> None:
    assert main(replace(args, **asked)) == 2
    assert message in capsys.readouterr().err


def test_tiles_are_measured_and_their_predictions_are_their_own(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here(args)
    args = replace(args, iou_types=("bbox",), predictions=folder / "p.jsonl", results=folder / "whole.json")
    assert main(args) == 0
    tiles = replace(args, tile=64, overlap=16, predictions=folder / "t.jsonl", results=folder / "tiles.json")
    assert main(tiles) == 0
    whole, found = (json.loads((folder / f"{name}.json").read_text()) for name in ("whole", "tiles"))
    assert len(found) > 3
    assert found != whole
    capsys.readouterr()
    assert main(replace(tiles, overlap=8)) == 2
    assert "t.jsonl: holds predictions of another tiling; name another file" in capsys.readouterr().err
    assert main(replace(args, predictions=tiles.predictions)) == 2
    assert main(replace(tiles, tile=16)) == 2
    assert "--tile is 16; expected" in capsys.readouterr().err


def test_batches_give_the_same_results(args: Args) -> None:
    files = []
    for batch_size in (1, 3):
        files.append(here(args) / f"{batch_size}.json")
        assert main(replace(args, batch_size=batch_size, results=files[-1], iou_types=("bbox",))) == 0
    one, three = (json.loads(file.read_text()) for file in files)
    assert [(r["image_id"], r["category_id"]) for r in one] == [(r["image_id"], r["category_id"]) for r in three]
    assert_near([r["bbox"] for r in one], [r["bbox"] for r in three], "batched boxes")


def test_unreadable_images_are_counted(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    (here(args) / "2.png").write_bytes(b"")
    assert main(replace(args, output=here(args) / "o.json")) == 0
    assert json.loads((here(args) / "o.json").read_text())["skipped"] == 1
    output = capsys.readouterr()
    assert "skipped: " in output.err
    assert "2.png" in output.err
    assert "1 skipped" in output.out


def test_annotations_without_sizes_give_the_same_figures(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    args = replace(args, output=here(args) / "o.json", iou_types=("bbox",))
    assert main(args) == 0
    figures = json.loads((here(args) / "o.json").read_text())["figures"]
    content = json.loads(args.annotations.read_text())
    for image in content["images"]:
        del image["height"]
    args.annotations.write_text(json.dumps(content))
    capsys.readouterr()
    assert main(args) == 0
    assert json.loads((here(args) / "o.json").read_text())["figures"] == figures
    assert "images without a size (it is that of the file), the first is image" in capsys.readouterr().err


def test_many_unreadable_images_are_told_shortly(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(args.annotations.read_text())
    content["images"] += [{"id": n, "file_name": f"{n}.png", "height": 60, "width": 80} for n in range(10, 25)]
    args.annotations.write_text(json.dumps(content))
    assert main(replace(args, output=here(args) / "o.json", iou_types=("bbox",))) == 0
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")]
    assert len(errors) == 11
    assert errors[-1] == "skipped: and 5 more"
    assert json.loads((here(args) / "o.json").read_text())["skipped"] == 15


def test_a_full_disk_is_named_and_the_predictions_go_on(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    kept = here(args) / "p.jsonl"
    whole = replace(args, output=here(args) / "whole.json", iou_types=("bbox",))
    assert main(whole) == 0
    args = replace(whole, predictions=kept, output=here(args) / "o.json")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        code = main(args)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {kept}: cannot be written: File too large"
    assert main(args) == 0
    assert json.loads((here(args) / "o.json").read_text()) == json.loads((here(args) / "whole.json").read_text())


def as_lvis(args: Args, *, category: int = 3, synset: str = "square.n.01") -> Args:
    """The same objects as LVIS annotations; the second image is verified to have none of the second category."""
    content = json.loads(args.annotations.read_text())
    (here(args) / "val2017").mkdir()
    for image in content["images"]:
        image["coco_url"] = f"http://x/val2017/{image['file_name']}"
        image |= {"neg_category_ids": [7] if image["id"] == 2 else [], "not_exhaustive_category_ids": []}
        (here(args) / image["file_name"]).rename(here(args) / "val2017" / image["file_name"])
    for annotation in content["annotations"]:
        annotation["category_id"] = category
    content["categories"] = [
        {"id": category, "name": "lvis 3", "frequency": "f", "synset": synset},
        {"id": 7, "name": "lvis 7", "frequency": "r", "synset": "train.n.01"},
    ]
    args.annotations.write_text(json.dumps(content))
    return replace(args, metric="lvis", output=here(args) / "o.json")


def test_lvis_figures(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(as_lvis(args)) == 0
    report = json.loads((here(args) / "o.json").read_text())
    assert report["metric"] == "lvis"
    assert report["max_detections"] == 300
    assert list(report["figures"]) == ["bbox", "segm"]
    assert report["figures"]["segm"].keys() == {
        "AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR", "ARs", "ARm", "ARl"
    }  # fmt: skip
    tables = capsys.readouterr().out
    assert tables.index("APf") < tables.index("ARs"), "a table of precisions and one of recalls"
    assert "at most 300 detections per image\n" in tables


def test_ap_star_is_of_coco_detectors(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    args = replace(as_lvis(args, category=1, synset="person.n.01"), metric="ap-star")
    assert main(args) == 2
    assert "finds 2 classes; AP* is for a detector of COCO's 80" in capsys.readouterr().err
    config = replace(TINY, class_names=COCO.class_names, category_ids=COCO.category_ids)
    save_detector(randomize(Detector(config), 0), here(args) / "coco.safetensors", recipe="tiny")
    assert main(replace(args, model=here(args) / "coco.safetensors", iou_types=("segm",))) == 0
    assert list(json.loads((here(args) / "o.json").read_text())["figures"]) == ["segm"]


def spoil_images(args: Args) -> Args:
    return replace(args, images=here(args) / "elsewhere")


def spoil_classes(args: Args) -> Args:
    content = json.loads(args.annotations.read_text())
    content["categories"][0]["name"] = "person"
    args.annotations.write_text(json.dumps(content))
    return args


def spoil_predictions(args: Args) -> Args:
    (here(args) / "p.jsonl").write_text(
        '{"predictions": {"model": "another", "engine": "PyTorch", "precision": "fp32"}, "format": 3}\n'
    )
    return replace(args, predictions=here(args) / "p.jsonl")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda args: replace(args, annotations=here(args) / "absent.json"),
            r"absent\.json: no such file",
        ),
        (lambda args: replace(args, annotations=here(args) / "1.png"), "not a JSON file"),
        (lambda args: replace(args, model=here(args) / "absent.safetensors"), "no such file"),
        (lambda args: replace(args, model=here(args) / "1.png"), "no engine for '.png' files"),
        (lambda args: replace(args, limit=0), "--limit is 0; expected at least 1"),
        (lambda args: replace(args, batch_size=-1), "--batch-size is -1"),
        (lambda args: replace(args, metric="lvis"), "'neg_category_ids', expected the annotations of LVIS"),
        (lambda args: replace(as_lvis(args), iou_types=("boundary",)), "--metric lvis has no boundaries"),
        (lambda args: replace(as_lvis(args), max_detections=5), "always 300 detections per image"),
        (lambda args: replace(as_lvis(args), metric="ap-star"), "its categories are not COCO's; make"),
        (lambda args: as_lvis(args, category=4), r"none is category 4 \(lvis 3\)"),
        (spoil_images, r"elsewhere: has none of the 3 images of .*annotations\.json, such as '1\.png'"),
        (spoil_classes, r"none is category 3 \(person\)"),
        (spoil_predictions, r"p\.jsonl: holds predictions of other annotations and another model; name another file"),
        (lambda args: replace(args, threads=0), "--threads is 0; expected at least 1"),
        (lambda args: replace(args, output=args.annotations), "is read by this very command"),
        (lambda args: replace(args, output=args.model), "is read by this very command"),
        (lambda args: replace(args, output=here(args) / "1.png"), "is an image and would be overwritten"),
        (
            lambda args: replace(args, results=here(args) / "o", output=here(args) / "o"),
            "--output and --results are",
        ),
    ],
)
def test_mistakes(args: Args, capsys: pytest.CaptureFixture[str], spoil: Callable[[Args], Args], message: str) -> None:
    assert main(spoil(args)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error)


@pytest.mark.parametrize("name", ["output", "results"])
def test_a_directory_as_output_is_refused_before_predicting(
    args: Args, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kept = here(args) / "p.jsonl"
    directory: dict[str, Any] = {name: here(args)}
    assert main(replace(args, predictions=kept, **directory)) == 2
    assert "is a directory, expected the name of a file" in capsys.readouterr().err
    assert not kept.exists()


def test_a_smaller_limit_takes_fewer_of_the_kept_predictions(args: Args) -> None:
    folder = here(args)
    args = replace(args, predictions=folder / "p.jsonl", results=folder / "r.json")
    assert main(args) == 0
    assert main(replace(args, limit=1)) == 0
    assert {result["image_id"] for result in json.loads((folder / "r.json").read_text())} <= {1}
    assert (folder / "p.jsonl").read_text().count("\n") == 4


def test_annotations_without_an_object_that_counts_are_named(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(args.annotations.read_text())
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1
    args.annotations.write_text(json.dumps(content))
    assert main(args) == 0
    assert "nothing to measure: no object of these images counts; crowds (iscrowd 1)" in capsys.readouterr().out


def test_a_report_has_pictures_of_the_images(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    assert args.images is not None
    report = args.images / "report.html"
    assert main(replace(args, report=report)) == 0
    assert f"report: {report}" in capsys.readouterr().out
    html = report.read_text()
    assert all(f"<b>{number}.png</b>" in html for number in (1, 2, 3))
    assert html.count("data:image/webp") == 3
    capsys.readouterr()
    assert main(replace(args, report=args.annotations)) == 2
    assert "annotations.json: is a page of HTML; expected a name that ends in .html\n" in capsys.readouterr().err


def test_the_backend_runs_the_file_and_its_predictions_are_its_own(
    args: Args, tiny_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    folder = here(args)
    exported = replace(args, model=tiny_files[1], output=folder / "figures.json", predictions=folder / "p.jsonl")
    assert main(replace(exported, backend="openvino")) == 0
    assert json.loads((folder / "figures.json").read_text())["engine"] == "OpenVINO"
    capsys.readouterr()
    assert main(exported) == 2
    assert "p.jsonl: holds predictions of another engine; name another file" in capsys.readouterr().err
    assert main(replace(exported, backend="tensorrt")) == 2
    assert "backend 'tensorrt' cannot run it; expected onnxruntime or openvino" in capsys.readouterr().err
    assert main(replace(args, model=None, results=folder / "figures.json", images=None, backend="openvino")) == 2
    assert "--backend is for running a MODEL" in capsys.readouterr().err
