"""Predictions reach the disk as they come and survive an interruption; bad images are skipped and counted."""

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.config import ModelConfig, Preprocessing
from refinemask.data.coco import CocoImage
from refinemask.evaluation.predictions import PredictionFile, predict, predict_dataset, to_results
from refinemask.files import UserError
from refinemask.structures import Detections
from tests.support.tolerances import assert_near

SOURCE = {"model": "a", "annotations": "b"}
RESULT = {"category_id": 9, "bbox": [0.0, 0.0, 1.0, 1.0], "score": 0.5}


class BrightBox:
    """A predictor that finds one full box of class 1 per image, its score the image's first red value."""

    config = ModelConfig(
        class_names=("a", "b"), category_ids=(4, 9), preprocessing=Preprocessing(short_side=32, long_side=64)
    )

    def __init__(self, canvas: tuple[int, int] | None = None) -> None:
        self.seen: list[tuple[int, ...]] = []
        self._canvas = canvas

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        return self._canvas

    def infer(self, images: np.ndarray, image_sizes: np.ndarray) -> Detections:
        self.seen.append(images.shape)
        batch = len(images)
        boxes = np.zeros((batch, 3, 4), np.float32)
        boxes[:, 0, 2:] = image_sizes[:, ::-1]
        scores = np.zeros((batch, 3), np.float32)
        scores[:, 0] = images[:, 0, 0, 0] / 255
        labels = np.zeros((batch, 3), np.int64)
        labels[:, 0] = 1
        return Detections(boxes, scores, labels, np.ones(batch, np.int64), np.ones((batch, 3, 28, 28), np.float32))


def write_images(folder: Path, count: int) -> list[CocoImage]:
    images = []
    for number in range(1, count + 1):
        image = CocoImage(number, f"{number}.png", 20 + number, 30)
        cv2.imwrite(str(folder / image.file_name), np.full((image.height, image.width, 3), number, np.uint8))
        images.append(image)
    return images


@pytest.mark.parametrize("canvas", [None, (32, 32)])
def test_results_are_in_pixels_of_the_original_image(canvas: tuple[int, int] | None) -> None:
    predictor = BrightBox(canvas)
    images = [np.full(shape, 51, np.uint8) for shape in ((21, 30, 3), (40, 10, 3))]
    for image, [result] in zip(images, predict(predictor, images), strict=True):
        height, width = image.shape[:2]
        assert result["category_id"] == 9
        assert result["score"] == pytest.approx(0.2)
        assert_near(result["bbox"], [0, 0, width, height], "one float32 operation")
        assert result["segmentation"]["size"] == [height, width]
        assert coco_mask.area(result["segmentation"]) == height * width
    assert predictor.seen == [(2, 3, *(canvas or (64, 64)))]


def test_image_without_detections() -> None:
    nothing = Detections(
        np.zeros((1, 5, 4), np.float32),
        np.zeros((1, 5), np.float32),
        np.zeros((1, 5), np.int64),
        np.zeros(1, np.int64),
        np.zeros((1, 5, 28, 28), np.float32),
    )
    assert to_results(nothing, np.ones((1, 4), np.float32), [(10, 10)], (1,)) == [[]]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_dataset_is_predicted_once_and_an_interrupted_run_continues(tmp_path: Path, batch_size: int) -> None:
    images = write_images(tmp_path, 5)
    whole = PredictionFile(tmp_path / "whole.jsonl", SOURCE)
    assert predict_dataset(BrightBox(), images, tmp_path, whole, batch_size=batch_size) == []
    assert list(whole) == [1, 2, 3, 4, 5]
    assert whole[3][0]["image_id"] == 3
    assert whole[3][0]["score"] == pytest.approx(3 / 255)

    content = (tmp_path / "whole.jsonl").read_bytes()
    for cut in (len(content), len(content) - 30, len(content) // 2, 50, 10, 0):
        path = tmp_path / f"cut{cut}.jsonl"
        path.write_bytes(content[:cut])
        continued, predictor = PredictionFile(path, SOURCE), BrightBox()
        kept = len(continued)
        predict_dataset(predictor, images, tmp_path, continued)
        assert len(predictor.seen) == 5 - kept
        assert dict(continued) == dict(whole)
        continued.close()
        assert path.read_bytes() == content


def test_bad_images_are_skipped_with_their_reason(tmp_path: Path) -> None:
    images = write_images(tmp_path, 4)
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    (tmp_path / "3.png").unlink()
    images[3] = CocoImage(4, "4.png", 30, 24)
    predictions = PredictionFile(tmp_path / "p.jsonl", SOURCE)
    skipped = predict_dataset(BrightBox(), images, tmp_path, predictions, batch_size=2)
    assert list(predictions) == [1]
    truncated, missing, turned = skipped
    assert "2.png" in truncated
    assert "3.png: cannot be read" in missing
    assert "4.png: is 24x30" in turned
    assert "annotated at 30x24" in turned


def test_export_is_a_coco_results_file(tmp_path: Path) -> None:
    with_nothing = PredictionFile(tmp_path / "none.jsonl", SOURCE)
    with_nothing.export(tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []
    predictions = PredictionFile(tmp_path / "some.jsonl", SOURCE)
    predictions.append(7, [RESULT, RESULT])
    predictions.append(3, [])
    predictions.append(5, [RESULT])
    predictions.export(tmp_path / "some.json")
    assert json.loads((tmp_path / "some.json").read_text()) == [{"image_id": i, **RESULT} for i in (5, 7, 7)]


def test_file_of_another_source_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    PredictionFile(path, SOURCE).append(1, [RESULT])
    for content in (path.read_bytes(), b"a picture, not predictions", b'{"predictions": {}}\n'):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"p\.jsonl: not predictions of this model"):
            PredictionFile(path, {"model": "other"})
        assert path.read_bytes() == content


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        PredictionFile(tmp_path, SOURCE)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with PredictionFile(path, SOURCE) as predictions:
        predictions.append(1, [RESULT])
    whole = path.read_bytes()
    path.write_bytes(whole + b"{oops\n" + whole.splitlines(keepends=True)[1])
    with pytest.raises(UserError, match=rf"p\.jsonl: the line at byte {len(whole)} is damaged"):
        PredictionFile(path, SOURCE)
