"""The results of any tool: the figures of pycocotools and of the lvis package, whatever form the file has."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.evaluators.synthetic import Amount, synthetic
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.foreign_results import evaluate_results
from refinemask.files import UserError
from tests.support.lvis_cases import SYNTHETIC, jittered, synthetic_case
from tests.support.tolerances import TOLERANCES

EQUAL = TOLERANCES["average precision"].absolute
GOLDEN = Path(__file__).parents[2] / "golden" / "lvis_ap.json"
Results = list[dict[str, Any]]


@pytest.fixture(scope="module")
def case() -> tuple[dict[str, Any], Results]:
    return synthetic(Amount(images=6, objects=5, detections=12, height=480, width=640), seed=0)


@pytest.fixture
def files(tmp_path: Path, case: tuple[dict[str, Any], Results]) -> tuple[Path, Path]:
    """Annotations and results."""
    annotations, results = tmp_path / "a.json", tmp_path / "theirs.json"
    for path, content in zip((annotations, results), case, strict=True):
        path.write_text(json.dumps(content))
    return annotations, results


def reference(annotations: Path, results: Path, iou_type: str) -> list[float]:
    """AP, AP50, AP75, APs, APm, APl."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:6]]


def without_boxes(results: Results) -> Results:
    return [{key: value for key, value in entry.items() if key != "bbox"} for entry in results]


def uncompressed(results: Results) -> Results:
    return [entry | {"segmentation": _runs(entry["segmentation"])} for entry in results]


def _runs(rle: dict[str, Any]) -> dict[str, Any]:
    pixels = coco_mask.decode(rle).ravel(order="F")
    edges = np.flatnonzero(np.diff(pixels, prepend=0))
    return {"size": rle["size"], "counts": np.diff([0, *edges, len(pixels)]).tolist()}


def as_polygons(results: Results) -> Results:
    def corners(x: float, y: float, w: float, h: float) -> list[list[float]]:
        return [[x, y, x + w, y, x + w, y + h], [x, y, x + w / 2, y + h, x, y + h]]

    return [entry | {"segmentation": corners(*entry["bbox"])} for entry in results]


def of_some_images(results: Results) -> Results:
    return [entry for entry in results if entry["image_id"] > 2]


def with_floats_and_more(results: Results) -> Results:
    more = {"area": 3.0, "id": "x", "file_name": None}
    unknown = results[0] | {"category_id": 91, "score": 0.99}
    return [unknown, *(entry | more | {"image_id": float(entry["image_id"])} for entry in results)]


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize(
    "change", [list, without_boxes, uncompressed, as_polygons, of_some_images, with_floats_and_more]
)
def test_the_figures_are_those_of_pycocotools(
    files: tuple[Path, Path], change: Callable[[Results], Results], iou_type: IoUType
) -> None:
    annotations, results = files
    results.write_text(json.dumps(change(json.loads(results.read_text()))))
    found = evaluate_results(results, annotations, iou_types=[iou_type]).figures[iou_type]
    expected = reference(annotations, results, iou_type)
    assert 0.03 < expected[0] < 0.97
    ours = [found[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=EQUAL)


def with_text(results: Results) -> Results:
    return [entry | {"category_id": str(entry["category_id"])} for entry in results]


def test_pictures_are_the_same_whatever_form_the_file_has(files: tuple[Path, Path]) -> None:
    annotations, results = files
    for image in json.loads(annotations.read_text())["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(results.with_name(image["file_name"]))
    entries, pictures = json.loads(results.read_text()), []
    for change in (list, uncompressed, with_text):
        results.write_text(json.dumps(change(entries)))
        found = evaluate_results(results, annotations, results.parent, iou_types=["segm"], pictures=1, resamples=0)
        pictures.append(found.pictures)
    assert pictures[0]
    assert pictures == pictures[:1] * 3


@pytest.mark.parametrize("name", SYNTHETIC)
def test_the_figures_are_those_of_the_lvis_package(tmp_path: Path, name: str) -> None:
    seed, bbox, iou_type = SYNTHETIC[name]
    content, results = synthetic_case(seed, bbox=bbox)
    annotations, theirs = tmp_path / "lvis.json", tmp_path / "theirs.json"
    annotations.write_text(json.dumps(content))
    theirs.write_text(json.dumps(results))
    found = evaluate_results(theirs, annotations, metric="lvis", iou_types=[iou_type])
    assert found.max_detections == 300
    for figure, value in json.loads(GOLDEN.read_text())[name].items():
        np.testing.assert_allclose(found.figures[iou_type][figure], value, rtol=0, atol=EQUAL, err_msg=figure)


def test_the_figures_of_ap_star_are_those_of_the_lvis_package(tmp_path: Path) -> None:
    annotations, theirs = GOLDEN.with_name("lvis_v0.5_val_cut_cocofied.json"), tmp_path / "theirs.json"
    theirs.write_text(json.dumps(jittered(json.loads(annotations.read_text()))))
    found = evaluate_results(theirs, annotations, metric="ap-star", iou_types=["segm"]).figures["segm"]
    expected = json.loads(GOLDEN.read_text())[annotations.name]
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), rtol=0, atol=EQUAL)


def test_boxes_alone_have_figures_of_boxes_alone(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    annotations, results = files
    whole = evaluate_results(results, annotations).figures
    entries = json.loads(results.read_text())
    nothing: list[dict[str, Any]] = [{}, {"segmentation": None}, {"segmentation": []}]
    for empty in nothing:
        boxes = [{key: value for key, value in e.items() if key != "segmentation"} | empty for e in entries]
        results.write_text(json.dumps(boxes))
        capsys.readouterr()
        assert evaluate_results(results, annotations).figures == {"bbox": whole["bbox"]}
        assert "has boxes and no masks: only the figures of boxes are measured" in capsys.readouterr().err
        with pytest.raises(UserError, match=r"theirs.json: result 0 has no segmentation; .*--iou-types bbox"):
            evaluate_results(results, annotations, iou_types=["segm"])


def test_what_is_left_out_is_counted(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    annotations, results = files
    entries = json.loads(results.read_text())
    expected = evaluate_results(results, annotations).figures
    by_name = [entry | {"image_id": str(entry["image_id"]) if entry["image_id"] == 1 else entry["image_id"]}
               for entry in entries]  # fmt: skip
    results.write_text(json.dumps([*by_name, entries[0] | {"image_id": 77}, entries[0] | {"image_id": "other"}]))
    assert evaluate_results(results, annotations).figures == expected
    error = capsys.readouterr().err
    assert "left out: 2 results of images that the annotations lack, the first is result 72 (image 77)" in error
    results.write_text(json.dumps(of_some_images(entries)))
    assert evaluate_results(results, annotations, limit=3).images == 3
    with pytest.raises(UserError, match="resamples"):
        evaluate_results(results, annotations, resamples=-1)
    assert "theirs.json: 2 of 3 images have no result; they count as images in which nothing" in capsys.readouterr().err
    assert evaluate_results(results, annotations, iou_types=["bbox"]).figures["bbox"] != expected["bbox"]


def test_images_may_be_named_by_their_files(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    annotations, results = files
    expected = evaluate_results(results, annotations).figures
    content = json.loads(annotations.read_text())
    for image in content["images"]:
        image["file_name"] = f"val/photo-{image['id']}.jpg"
    annotations.write_text(json.dumps(content))
    entries = json.loads(results.read_text())
    results.write_text(json.dumps([entry | {"image_id": f"photo-{entry['image_id']}"} for entry in entries]))
    assert evaluate_results(results, annotations).figures == expected
    assert "mended: 72 results that name their image by its file" in capsys.readouterr().err


def test_the_name_of_the_file_wins_over_a_number_that_was_counted(files: tuple[Path, Path]) -> None:
    annotations, results = files
    expected = evaluate_results(results, annotations).figures
    content = json.loads(annotations.read_text())
    names = {image["id"]: f"{'ab'[image['id'] % 2]}/{image['id'] // 2}.jpg" for image in content["images"]}
    for image in content["images"]:
        image["file_name"] = names[image["id"]]
    annotations.write_text(json.dumps(content))
    # As refinemask.predict numbers the images that it was given.
    entries = [entry | {"file_name": names[entry["image_id"]], "image_id": entry["image_id"] + 1}
               for entry in json.loads(results.read_text())]  # fmt: skip
    results.write_text(json.dumps(entries))
    assert evaluate_results(results, annotations).figures == expected
    results.write_text(json.dumps([entry | {"file_name": "elsewhere.jpg"} for entry in entries]))
    with pytest.raises(UserError, match=r"none of its 72 results is of an image .* \(image 'elsewhere.jpg'\)"):
        evaluate_results(results, annotations)


def test_options_that_make_no_sense_are_one_line(files: tuple[Path, Path], tmp_path: Path) -> None:
    annotations, results = files
    with pytest.raises(UserError, match="--resamples is -1; expected at least 0"):
        evaluate_results(results, annotations, resamples=-1)
    with pytest.raises(UserError, match="nowhere: has none of the 6 images of"):
        evaluate_results(results, annotations, tmp_path / "nowhere", pictures=2)


def test_lines_of_json_and_a_mark_of_the_byte_order_are_read(files: tuple[Path, Path]) -> None:
    annotations, results = files
    expected = evaluate_results(results, annotations, iou_types=["bbox"]).figures
    entries = json.loads(results.read_text())
    for text in ("\n".join(map(json.dumps, entries)), "\ufeff" + json.dumps(entries)):
        results.write_text(text)
        assert evaluate_results(results, annotations, iou_types=["bbox"]).figures == expected


def test_a_mask_without_a_pixel_is_a_result_that_fits_nothing(files: tuple[Path, Path]) -> None:
    annotations, results = files
    entries = json.loads(results.read_text())
    far = entries[0] | {"bbox": [0, 0, 1, 1], "score": 0.999}
    figures = []
    for segmentation in ([], [[1, 1, 2, 2]], {"size": [480, 640], "counts": [0, 1, 480 * 640 - 1]}):
        results.write_text(json.dumps([far | {"segmentation": segmentation}, *entries[1:]]))
        figures.append(evaluate_results(results, annotations, iou_types=["segm"]).figures)
    assert figures[0] == figures[1] == figures[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": [], "annotations": []}, "holds annotations, without scores; expected COCO results, a list of"),
        ({"results": [1], "x": 2}, r"holds an object with the keys \['results', 'x'\]; expected COCO results"),
        (5, "holds a JSON int, expected COCO results"),
        ([5], "result 0 is '5'; expected COCO results"),
        ([{"image_id": 1, "category_id": 1, "score": 1}], "result 0 has neither; expected COCO results"),
        ([{"image_id": 99, "category_id": 1, "score": 1, "bbox": [1, 2, 3, 4]}],
         r"none of its 1 results is of an image of .*a.json, such as image 1; the first is result 0 \(image 99\)"),
        ([{"image_id": 1, "category_id": 0, "score": 1, "bbox": [1, 2, 3, 4]}],
         r"none of its 1 results is of a category of .*a.json, which has 80 classes \(1 thing 1, .*\(category 0\)"),
        ([{"image_id": 1, "category_id": 1, "score": None, "bbox": [1, 2, 3, 4]}],
         "theirs.json: results of image 1: result 0: score: expected number"),
        ([{"image_id": 1, "category_id": 1, "score": float("nan"), "bbox": [1, 2, 3, 4]}],
         "theirs.json: results of image 1: result 0: score: expected a finite number, found nan"),
        ([{"image_id": 1, "category_id": 1, "score": 1, "segmentation": {"size": [5, 5], "counts": [25]}}],
         r"theirs.json: results of image 1: result 0: its run lengths are of an image of the size \[5, 5\]"),
        ([{"image_id": 1, "category_id": 1, "score": 1, "bbox": [1, 2, 3, 4], "segmentation": {"size": [5, 5],
           "counts": "9"}}], "theirs.json: results of image 1: result 0: its run lengths are of an image of the size"),
        ([{"image_id": 1, "category_id": 1, "score": 1, "bbox": [1, 2, 3, 4]},
          {"image_id": 1, "category_id": 1, "score": 1, "segmentation": []}],
         "result 1 has no bbox; .* and the same of both in all results"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_line(files: tuple[Path, Path], content: Any, message: str) -> None:
    annotations, results = files
    results.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        evaluate_results(results, annotations)
    assert str(caught.value).startswith(f"{results}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"predictions": {"model": "x"}, "format": 2}, r"holds kept predictions \(--predictions\)"),
        ({"image": "a.png", "detections": []}, "holds JSON lines of refinemask.predict, which know no image ids"),
    ],
)
def test_our_own_lines_of_json_are_known(files: tuple[Path, Path], line: dict[str, Any], message: str) -> None:
    annotations, results = files
    results.write_text(f"{json.dumps(line)}\n" * 2)
    with pytest.raises(UserError, match=message):
        evaluate_results(results, annotations)
