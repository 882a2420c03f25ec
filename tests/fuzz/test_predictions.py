"""A damaged file of predictions gives the same results in the end, or is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from refinemask.data.coco import CocoImage
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.evaluation.predictions import predict_dataset
from tests.fuzz.conftest import Seeds
from tests.support.bright_box import BrightBox
from tests.support.mutations import mutated_bytes, refusal

SOURCE = {"model": "a" * 64, "annotations": "b" * 64}


@pytest.fixture
def images(tmp_path: Path) -> list[CocoImage]:
    images = [CocoImage(number, f"{number}.png", 20 + number, 30) for number in range(1, 6)]
    for image in images:
        assert cv2.imwrite(
            str(tmp_path / image.file_name), np.full((image.height, image.width, 3), 40 * image.id, np.uint8)
        )
    return images


def test_damaged_predictions(seeds: Seeds, tmp_path: Path, images: list[CocoImage]) -> None:
    path, found = tmp_path / "p.jsonl", {}

    def continued() -> None:
        with PredictionFile(path, SOURCE) as predictions:
            assert predict_dataset(BrightBox(), images, tmp_path, predictions) == []
            predictions.restrict(image.id for image in images)
            found["now"] = dict(predictions)

    continued()
    whole, data = found["now"], path.read_bytes()
    refused = taken = 0
    for random in seeds(120):
        path.write_bytes(mutated_bytes(data, random))
        if refusal(continued) is not None:
            refused += 1
            continue
        taken += 1
        assert found["now"] == whole
        assert refusal(continued) is None
        assert found["now"] == whole
    assert taken > refused > 0
