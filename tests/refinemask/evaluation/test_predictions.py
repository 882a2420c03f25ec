"""Predictions reach the disk as they come and survive an interruption; bad images are skipped and counted."""

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinemask.contract import InputError
from refinemask.data.coco import CocoImage
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.evaluation.predictions import export_results, predict_dataset
from refinemask.files import UserError
from refinemask.streaming.plan import StreamOptions
from tests.support.bright_box import BrightBox

SOURCE = {"model": "a", "annotations": "b"}
RESULT = {"category_id": 9, "bbox": [0.0, 0.0, 1.0, 1.0], "score": 0.5}


def write_images(folder: Path, count: int) -> list[CocoImage]:
    images = []
    for number in range(1, count + 1):
        image = CocoImage(number, f"{number}.png", 20 + number, 30)
        cv2.imwrite(str(folder / image.file_name), np.full((image.height, image.width, 3), number, np.uint8))
        images.append(image)
    return images


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_dataset_is_predicted_once_and_an_interrupted_run_continues(tmp_path: Path, batch_size: int) -> None:
    images = write_images(tmp_path, 5)
    whole = PredictionFile(tmp_path / "whole.jsonl", SOURCE)
    assert predict_dataset(BrightBox(), images, tmp_path, whole, StreamOptions(batch_size=batch_size)) == []
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
    skipped = predict_dataset(BrightBox(), images, tmp_path, predictions, StreamOptions(batch_size=2))
    assert list(predictions) == [1]
    truncated, missing, turned = skipped
    assert "2.png" in truncated
    assert "3.png: cannot be read" in missing
    assert "4.png: is 24x30" in turned
    assert "annotated at 30x24" in turned


def test_an_image_that_does_not_fit_the_predictor_ends_the_evaluation(tmp_path: Path) -> None:
    class Small(BrightBox):
        def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
            raise InputError("too large")

    predictions = PredictionFile(tmp_path / "p.jsonl", SOURCE)
    with pytest.raises(UserError, match=r"1\.png: too large"):
        predict_dataset(Small(), write_images(tmp_path, 2), tmp_path, predictions)


def test_export_is_a_coco_results_file(tmp_path: Path) -> None:
    with_nothing = PredictionFile(tmp_path / "none.jsonl", SOURCE)
    export_results(with_nothing, tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []
    predictions = PredictionFile(tmp_path / "some.jsonl", SOURCE)
    predictions.append(7, [RESULT, RESULT])
    predictions.append(3, [])
    predictions.append(5, [RESULT])
    export_results(predictions, tmp_path / "some.json")
    assert json.loads((tmp_path / "some.json").read_text()) == [{"image_id": i, **RESULT} for i in (5, 7, 7)]


def test_pictures_that_changed_since_are_refused(tmp_path: Path) -> None:
    images = write_images(tmp_path, 3)
    with PredictionFile(tmp_path / "p.jsonl", SOURCE) as predictions:
        predict_dataset(BrightBox(), images, tmp_path, predictions)
        (tmp_path / "1.png").unlink()
        assert predict_dataset(BrightBox(), images, tmp_path, predictions) == [], "a file that is gone says nothing"
        assert cv2.imwrite(str(tmp_path / "2.png"), np.full((22, 30, 3), 99, np.uint8))
        predictor = BrightBox()
        with pytest.raises(UserError, match=r"p\.jsonl: holds predictions of other pictures: .*2\.png is not the file"):
            predict_dataset(predictor, images, tmp_path, predictions)
        assert predictor.seen == []
        predictions.restrict([3])
        assert predict_dataset(predictor, images[2:], tmp_path, predictions) == [], "only what is asked for counts"


def test_what_is_sure_is_read_without_the_rest(tmp_path: Path) -> None:
    results = [{"score": score, "segmentation": {"size": [1, 2], "counts": "02"}} for score in (0.2, 0.5, 1, 0.49)]
    with PredictionFile(tmp_path / "predictions.jsonl", {}) as predictions:
        predictions.append(7, results)
        assert predictions.sure(7, 0.5) == [each for each in predictions[7] if each["score"] >= 0.5]
        assert [each["score"] for each in predictions.sure(7, 0.5)] == [0.5, 1]
        assert predictions.sure(8, 0.5) == []
