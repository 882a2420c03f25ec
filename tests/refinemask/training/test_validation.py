"""A detector in training as a predictor."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import cv2
import numpy as np
import pytest
import torch

from refinemask.config import Window
from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.evaluation.metrics import METRICS
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.training.validation import LivePredictor, require_some_readable, validate
from tests.support.threads import alone
from tests.support.tiny_detector import make_tiny_detector
from tests.support.tiny_training import draw_dataset


def test_validation_is_in_fp32_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    pyramid = Detector.pyramid

    def watched(detector: Detector, images: torch.Tensor) -> list[torch.Tensor]:
        seen.append(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
        return pyramid(detector, images)

    monkeypatch.setattr(Detector, "pyramid", watched)
    predictor = LivePredictor(make_tiny_detector(), torch.device("cpu"))
    predictor.detect(np.zeros((1, 3, 64, 64), np.uint8), np.array([[64, 64]]), np.ones((1, 4), np.float32), [(64, 64)])
    assert (predictor.precision, seen) == ("fp32", ["ieee"])


def test_threads_of_a_validation_take_turns_in_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = make_tiny_detector()
    monkeypatch.setattr(detector, "forward", alone(detector.forward))
    predictor, start = LivePredictor(detector, torch.device("cpu")), Barrier(4)
    batch = np.zeros((1, 3, 64, 64), np.uint8), np.array([[64, 64]]), np.ones((1, 4), np.float32)

    def detect(_: int) -> None:
        start.wait(60)
        predictor.detect(*batch, [(64, 64)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(detect, range(4)))


def test_a_validation_costs_no_resamples(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", 2)
    dataset = read_coco(root / "train.json")
    found = validate(make_tiny_detector(), METRICS["coco"], dataset, root / "images", torch.device("cpu"))
    assert found.images == 2
    assert found.figures["segm"]["AP"] >= 0, "there are objects, whose AP had an interval"
    assert found.intervals == {}


@pytest.mark.parametrize("count", [1, 3, 12])
def test_images_to_evaluate_on_are_tried_before_the_first_epoch(tmp_path: Path, count: int) -> None:
    root = draw_dataset(tmp_path / "data", count)
    dataset = read_coco(root / "train.json")
    require_some_readable(dataset, root / "images", None)
    pictures = [root / "images" / image.file_name for image in dataset.images]
    for picture in pictures[: count - 1]:
        picture.write_bytes(b"")
    if count <= 10:
        require_some_readable(dataset, root / "images", None)
    pictures[-1].write_bytes(b"")
    tried = min(count, 10)
    with pytest.raises(
        UserError, match=f"train.json: the first {tried} images to evaluate on cannot be read, such as "
    ):
        require_some_readable(dataset, root / "images", None)


def test_deep_images_to_evaluate_on_need_a_window(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", 1)
    dataset = read_coco(root / "train.json")
    path = root / "images" / dataset.images[0].file_name
    assert cv2.imwrite(str(path), read_image(path).astype(np.uint16) * 16)
    require_some_readable(dataset, root / "images", Window(low=0, high=4080))
    with pytest.raises(UserError, match=r"cannot be read, such as .*has uint16 values .*--window LOW HIGH"):
        require_some_readable(dataset, root / "images", None)
