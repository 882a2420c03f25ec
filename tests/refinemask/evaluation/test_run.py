"""The evaluation as a function: typed figures, nothing printed, mistakes as errors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import refinemask
from refinemask.data.convert import Args as Convert
from refinemask.data.convert import main as convert
from refinemask.evaluation.run import Evaluation, evaluate
from refinemask.files import UserError, sha256
from tests.support.bright_box import BrightBox
from tests.support.other_formats import text


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Three bright images that are one object each, as :class:`BrightBox` finds them."""
    images, objects = [], []
    for number in (1, 2, 3):
        picture = np.full((40, 60, 3), 100 + number, np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 60})
        polygon = [0, 0, 60, 0, 60, 40, 0, 40]
        objects.append(
            {"id": number, "image_id": number, "category_id": 9, "bbox": [0, 0, 60, 40], "area": 2400}
            | {"segmentation": [polygon]}
        )
    content = {"images": images, "annotations": objects, "categories": [{"id": 4, "name": "a"}, {"id": 9, "name": "b"}]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_the_verb_returns_figures_and_prints_nothing(annotations: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = refinemask.evaluate(BrightBox(), annotations, annotations.parent)
    assert isinstance(found, refinemask.Evaluation)
    assert list(found.figures) == ["bbox", "segm", "boundary"]
    assert found.figures["bbox"]["AP"] == found.figures["segm"]["AP"] == pytest.approx(1)
    assert (found.images, found.skipped, found.metric, found.max_detections) == (3, (), "coco", 100)
    assert capfd.readouterr().out == ""


def test_each_ap_has_an_interval_but_without_resamples(annotations: Path) -> None:
    (annotations.parent / "2.png").rename(annotations.parent / "other.png")
    content = json.loads(annotations.read_text())
    # Half of the object that is found lies beside the annotated one: AP differs between the images.
    content["annotations"][2]["segmentation"] = [[0, 0, 36, 0, 36, 40, 0, 40]]
    annotations.write_text(json.dumps(content))
    found = evaluate(BrightBox(), annotations, annotations.parent, iou_types=("bbox", "segm"), resamples=50)
    assert found.intervals["bbox"] == (1, 1)
    low, high = found.intervals["segm"]
    assert low < found.figures["segm"]["AP"] < high
    assert json.loads(found.to_json())["intervals"]["segm"] == [low, high]
    none = evaluate(BrightBox(), annotations, annotations.parent, iou_types=("segm",), resamples=0)
    assert none.intervals == {}
    assert "intervals" not in json.loads(none.to_json())
    with pytest.raises(UserError, match="--resamples is -1; expected at least 0"):
        evaluate(BrightBox(), annotations, annotations.parent, resamples=-1)


def test_skipped_images_are_told_and_not_counted(annotations: Path) -> None:
    (annotations.parent / "2.png").write_bytes(b"")
    found = evaluate(BrightBox(), annotations, annotations.parent, iou_types=("bbox",), batch_size=2)
    assert found.images == 2
    (reason,) = found.skipped
    assert "2.png: the file is empty" in reason
    assert found.figures.keys() == {"bbox"}
    assert found.figures["bbox"]["AP"] == pytest.approx(1)


def test_crowds_are_looked_for_on_request(annotations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(annotations.read_text())
    for entry in content["annotations"]:
        entry["iscrowd"] = 1
    annotations.write_text(json.dumps(content))
    assert evaluate(BrightBox(), annotations, annotations.parent).figures["segm"]["AP"] == -1
    assert "give --crowd-as-object" in capsys.readouterr().err
    found = evaluate(BrightBox(), annotations, annotations.parent, crowd_as_object=True)
    assert found.figures["segm"]["AP"] == pytest.approx(1)
    with pytest.raises(UserError, match=r"^--crowd-as-object is for --metric coco; --metric is lvis$"):
        evaluate(BrightBox(), annotations, annotations.parent, metric="lvis", crowd_as_object=True)


def test_files_are_written_and_the_predictions_go_on(annotations: Path) -> None:
    folder = annotations.parent
    model = folder / "model.onnx"
    model.write_bytes(b"weights")
    kept, results = folder / "p.jsonl", folder / "r.json"
    first = evaluate(BrightBox(), annotations, folder, limit=2, model=model, predictions=kept, results=results)
    assert [result["image_id"] for result in json.loads(results.read_text())] == [1, 2]
    again = BrightBox()
    assert evaluate(again, annotations, folder, model=model, predictions=kept).images == 3
    assert len(again.seen) == 1
    assert first.sha256 == {"model": sha256(model), "annotations": sha256(annotations)}


def test_annotations_of_another_format_are_bound_as_what_they_say(
    annotations: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = annotations.parent
    data = text(folder / "set" / "data.yaml", "train: images\nval: images\nnames: {4: a, 9: b}")
    for number in (1, 2, 3):
        text(folder / "set" / "labels" / f"{number}.txt", "9 0 0 1 0 1 1 0 1")
        (folder / "set" / "images").mkdir(exist_ok=True)
        (folder / f"{number}.png").rename(folder / "set" / "images" / f"{number}.png")
    model = text(folder / "model.onnx", "weights")
    source, images, kept = f"{data}:val", folder / "set" / "images", folder / "p.jsonl"
    found = evaluate(BrightBox(), source, images, model=model, predictions=kept)
    assert found.figures["segm"]["AP"] == pytest.approx(1)
    assert found.images == 3

    converted = folder / "converted.json"
    assert convert(Convert(source, converted, images)) == 0
    again = BrightBox()
    assert evaluate(again, converted, images, model=model, predictions=kept).sha256 == found.sha256
    assert again.seen == []

    text(folder / "set" / "labels" / "3.txt", "9 0 0 1 0 1 0.5 0 0.5\n9 0 0 1 1")
    with pytest.raises(UserError, match=r"p\.jsonl: holds predictions of other annotations"):
        evaluate(BrightBox(), source, images, model=model, predictions=kept)
    assert f"{source}: left out: 1 boxes without an outline, the first is " in capsys.readouterr().err


def test_the_report_has_counts_instead_of_reasons() -> None:
    found = Evaluation(
        figures={"segm": {"AP": 0.5}},
        images=3,
        skipped=("1.png: the file is empty",),
        max_detections=100,
        model="r50.onnx",
        metric="coco",
        engine="ONNX Runtime",
        precision="fp32",
        sha256={"model": "a", "annotations": "b"},
    )
    report = json.loads(found.to_json())
    assert list(report) == [
        "model", "metric", "engine", "precision", "sha256", "images", "skipped", "max_detections", "figures"
    ]  # fmt: skip
    assert (report["model"], report["skipped"], report["figures"]) == ("r50.onnx", 1, {"segm": {"AP": 0.5}})
    assert json.loads(replace(found, model=None).to_json())["model"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "voc"}, "--metric is voc; expected coco, lvis, ap-star"),
        ({"limit": 0}, "--limit is 0; expected at least 1"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"max_detections": 0}, "--max-detections is 0"),
        ({"predictions": "p.jsonl"}, r"p\.jsonl: kept predictions belong to a model's file; name it, too"),
        ({"results": "."}, "is a directory, expected the name of a file"),
        ({"iou_types": "segm"}, "iou_types is 'segm'; expected some of bbox, segm, boundary"),
        ({"iou_types": ["mask"]}, r"iou_types is \['mask'\]; expected some of bbox, segm, boundary"),
    ],
)
def test_mistakes_are_errors_before_anything_is_predicted(
    annotations: Path, options: dict[str, Any], message: str
) -> None:
    predictor = BrightBox()
    with pytest.raises(UserError, match=message):
        evaluate(predictor, annotations, annotations.parent, **options)
    assert predictor.seen == []


def test_a_file_is_no_engine(annotations: Path) -> None:
    with pytest.raises(UserError, match=r"r50\.onnx: expected an engine; open the file with engines\.load"):
        evaluate("r50.onnx", annotations, annotations.parent)  # type: ignore[arg-type]


def test_a_wrong_folder_is_one_error_before_the_engine_is_opened(
    annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened() -> BrightBox:
        raise AssertionError("the engine was opened")

    with pytest.raises(UserError, match=r"elsewhere: has none of the 3 images of .*, such as '1\.png'"):
        evaluate(opened, annotations, tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        evaluate(opened, tmp_path / "absent.json", tmp_path)
    assert capsys.readouterr().err == ""


def test_an_engine_may_be_opened_by_the_verb(annotations: Path) -> None:
    assert evaluate(lambda: BrightBox(), annotations, annotations.parent, iou_types=("bbox",)).engine == "bright box"


def test_kept_predictions_belong_to_their_pictures(annotations: Path, tmp_path: Path) -> None:
    model, kept = tmp_path / "model.onnx", tmp_path / "p.jsonl"
    model.write_bytes(b"weights")
    evaluate(BrightBox(), annotations, annotations.parent, model=model, predictions=kept)
    mirrored = tmp_path / "mirrored"
    mirrored.mkdir()
    for number in (1, 2, 3):
        assert cv2.imwrite(str(mirrored / f"{number}.png"), np.full((40, 60, 3), 200, np.uint8))
    with pytest.raises(UserError, match=r"p\.jsonl: holds predictions of other pictures: .*mirrored/1\.png"):
        evaluate(BrightBox(), annotations, mirrored, model=model, predictions=kept)
    for number in (1, 2, 3):
        (mirrored / f"{number}.png").write_bytes((annotations.parent / f"{number}.png").read_bytes())
    again = BrightBox()
    evaluate(again, annotations, mirrored, model=model, predictions=kept)
    assert again.seen == [], "a copy of the pictures is as good"


@pytest.mark.parametrize("output", ["predictions", "results"])
@pytest.mark.parametrize("name", ["annotations.json", "model.onnx", "linked.json", "1.png"])
def test_no_output_replaces_an_input(annotations: Path, output: str, name: str) -> None:
    folder = annotations.parent
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "linked.json").symlink_to(annotations)
    before, predictor = (folder / name).read_bytes(), BrightBox()
    with pytest.raises(UserError, match=rf"{name}: is (read by this very command|an image)"):
        evaluate(predictor, annotations, folder, model=folder / "model.onnx", **{output: folder / name})  # type: ignore[arg-type]
    assert (folder / name).read_bytes() == before
    assert predictor.seen == []


def test_two_outputs_are_two_files(annotations: Path) -> None:
    folder = annotations.parent
    files = {"predictions": folder / "a.json", "results": folder / "x" / ".." / "a.json"}
    with pytest.raises(UserError, match=r"--predictions and --results are both .*a\.json; name two files"):
        evaluate(BrightBox(), annotations, folder, model=annotations, **files)  # type: ignore[arg-type]


def test_names_with_backslashes_are_found_in_folders(annotations: Path) -> None:
    content = json.loads(annotations.read_text())
    folder = annotations.parent / "sub"
    folder.mkdir()
    for image in content["images"]:
        (annotations.parent / image["file_name"]).rename(folder / image["file_name"])
        image["file_name"] = f"sub\\{image['file_name']}"
    annotations.write_text(json.dumps(content))
    found = evaluate(BrightBox(), annotations, annotations.parent, iou_types=("bbox",))
    assert (found.images, found.skipped) == (3, ())
