"""Predictions are in pixels of the original image, image by image, and go into every form a caller wants."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.config import ModelConfig, Window, with_window
from refinemask.contract import InputError
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.prediction import Prediction, class_labels, encode, predict, to_predictions
from refinemask.sources.given import ImageSource
from refinemask.streaming.images import predict_images
from refinemask.structures import Detections
from tests.support.bright_box import BrightBox
from tests.support.tolerances import assert_near
from tests.support.written import boxes_of
from tests.support.written import prediction as prediction_of

ROOT = Path(__file__).resolve().parents[2]


def picture(height: int, width: int, value: int = 51) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def write_picture(path: Path, height: int = 40, width: int = 60, value: int = 204) -> Path:
    assert cv2.imwrite(str(path), picture(height, width, value))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "street.png")


@pytest.fixture
def prediction(source: Path) -> Prediction:
    """The prediction of an image file: one box of class b over all of it."""
    [found] = predict_images(BrightBox(), [source])
    return found


@pytest.mark.parametrize("canvas", [None, (32, 32)])
def test_results_are_in_pixels_of_the_original_image(canvas: tuple[int, int] | None) -> None:
    predictor = BrightBox(canvas)
    images = [picture(21, 30), picture(40, 10)]
    for image, found in zip(images, predict(predictor, images), strict=True):
        height, width = image.shape[:2]
        assert (found.path, found.height, found.width, len(found)) == (None, height, width, 1)
        assert (found.class_names, found.category_ids, found.labels.tolist()) == (("b",), (9,), [1])
        assert found.scores.tolist() == [pytest.approx(0.2)]
        assert repr(found) == f"Prediction(array: {height}x{width} pixels, 1 objects)"
        assert_near(found.boxes, [[0, 0, width, height]], "one float32 operation")
        assert found.masks().shape == (1, height, width)
        assert found.masks().dtype == bool
        assert found.masks().all()
    assert predictor.seen == [(2, 3, *(canvas or (64, 64)))]


def test_the_best_of_the_padded_detections_are_those_that_count() -> None:
    detections = Detections(
        boxes=np.array([[[2, 4, 10, 20], [0, 0, 8, 8], [0, 0, 0, 0]]], np.float32),
        scores=np.array([[0.75, 0.5, 0]], np.float32),
        labels=np.array([[0, 1, 0]], np.int64),
        num_detections=np.array([2], np.int64),
        masks=np.ones((1, 3, 28, 28), np.float32),
    )
    encoded = encode(detections, np.full((1, 4), 2, np.float32), [(30, 40)])
    [found] = to_predictions(encoded, [(30, 40)], BrightBox.config)
    assert found.class_names == ("a", "b")
    first, second = found.to_coco(7)
    # The order of the keys is the order in the files.
    assert list(first) == ["image_id", "category_id", "bbox", "score", "segmentation"]
    assert list(found.to_coco()[0]) == ["category_id", "bbox", "score", "segmentation"]
    assert (first["image_id"], first["category_id"], first["bbox"], first["score"]) == (7, 4, [1, 2, 4, 8], 0.75)
    assert (second["category_id"], second["bbox"]) == (9, [0, 0, 4, 4])
    assert first["segmentation"]["size"] == [30, 40]
    assert coco_mask.area(first["segmentation"]) == 32
    assert json.loads(json.dumps(first)) == first


def test_an_image_without_detections_has_every_form_too(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "dark.png", value=0)
    [found] = predict_images(BrightBox(), [path])
    assert (len(found), found.class_names, found.category_ids, found.to_coco(1)) == (0, (), (), [])
    assert found.boxes.shape == (0, 4)
    assert found.masks().shape == (0, 40, 60)
    assert len(found.to_supervision()) == 0
    assert found.draw().shape == (427, 640, 3)
    assert found.save(tmp_path / "out").is_file()


def test_supervision_has_the_same_detections(prediction: Prediction) -> None:
    detections = prediction.to_supervision()
    np.testing.assert_array_equal(detections.xyxy, prediction.boxes)
    np.testing.assert_array_equal(detections.confidence, prediction.scores)
    np.testing.assert_array_equal(detections.class_id, [1])
    np.testing.assert_array_equal(detections.mask, prediction.masks())
    assert list(detections.data["class_name"]) == ["b"]


def test_a_drawing_reads_the_file_again_or_takes_the_image(prediction: Prediction, source: Path) -> None:
    image = read_image(source)
    drawing = prediction.draw()
    np.testing.assert_array_equal(drawing, prediction.draw(image))
    nothing = prediction.draw(image, min_score=0.9)
    assert (nothing == 204).all()
    assert (drawing != nothing).any(axis=2).mean() > 0.9
    with pytest.raises(UserError, match=r"street\.png: is uint8 \[30, 60, 3\]; expected uint8 \[40, 60, 3\]"):
        prediction.draw(picture(30, 60))
    with pytest.raises(UserError, match=r"is float32 \[40, 60, 3\]; expected uint8"):
        prediction.draw(image.astype(np.float32))


def test_an_array_is_not_kept_for_a_drawing(tmp_path: Path) -> None:
    image = picture(40, 60)
    [found] = predict(BrightBox(), [image])
    with pytest.raises(UserError, match=r"give it again: draw\(image\)"):
        found.draw()
    with pytest.raises(UserError, match="give one: save"):
        found.save(tmp_path, image=image)
    assert found.save(tmp_path, name="a.png", image=image) == tmp_path / "a.png"


def test_a_saved_drawing_is_the_drawing(prediction: Prediction, source: Path, tmp_path: Path) -> None:
    path = prediction.save(str(tmp_path / "new" / "out"))
    assert path == tmp_path / "new" / "out" / "street.png"
    np.testing.assert_array_equal(read_image(path), prediction.draw())
    assert [file.name for file in path.parent.iterdir()] == ["street.png"]


@pytest.mark.parametrize("name", ["a", "a.jpg", "../a.png", ".png/a.txt"])
def test_a_drawing_is_a_png_file_of_the_folder(prediction: Prediction, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"expected the name of a \.png file, without a folder"):
        prediction.save(tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()


def test_a_drawing_never_replaces_its_image(prediction: Prediction, source: Path) -> None:
    before = source.read_bytes()
    (source.parent / "deeper").mkdir()
    for directory in (source.parent, source.parent / "deeper" / ".."):
        with pytest.raises(UserError, match=r"street\.png: is the predicted image and would be overwritten"):
            prediction.save(directory)
    assert source.read_bytes() == before


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_files_and_arrays_of_any_size_keep_their_order(tmp_path: Path, batch_size: int) -> None:
    images: list[ImageSource] = [
        write_picture(tmp_path / "a.png", 20, 30, 10),
        picture(50, 20, 20),
        str(write_picture(tmp_path / "c.png", 30, 30, 30)),
    ]
    predictor = BrightBox()
    found = list(predict_images(predictor, images, batch_size=batch_size))
    assert [each.path for each in found] == [tmp_path / "a.png", None, tmp_path / "c.png"]
    assert [(each.height, each.width) for each in found] == [(20, 30), (50, 20), (30, 30)]
    assert [round(255 * each.scores[0]) for each in found] == [10, 20, 30]
    assert all(len(shape) == 4 and shape[0] <= batch_size for shape in predictor.seen)


def test_no_images_are_no_predictions() -> None:
    assert list(predict_images(BrightBox(), [])) == []


def test_nothing_is_taken_before_a_prediction_is_asked_for() -> None:
    taken = []

    def images() -> Iterator[np.ndarray]:
        for number in range(1, 200):
            taken.append(number)
            yield picture(20, 30, number)

    found = predict_images(BrightBox(), images(), batch_size=2, workers=1)
    assert taken == []
    next(found)
    assert 0 < len(taken) < 100
    found.close()


def test_a_buffer_may_be_used_again() -> None:
    buffer = picture(20, 30)

    def images() -> Iterator[np.ndarray]:
        for number in range(1, 30):
            buffer[:] = number
            yield buffer

    found = list(predict_images(BrightBox(), images()))
    assert [round(255 * each.scores[0]) for each in found] == list(range(1, 30))


class SmallEngine(BrightBox):
    """Takes images up to 100 pixels high."""

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        if max(height for height, _ in image_shapes) > 100:
            raise InputError("an image does not fit")
        return None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Path("nowhere.png"), r"^nowhere\.png: cannot be read"),
        (picture(101, 20), "^image 1: an image does not fit"),
        (picture(20, 20).astype(np.float32), r"^image 1: is float32 \[20, 20, 3\], expected uint8 \[h, w, 3\] RGB"),
        (picture(20, 20)[:, :, 0], r"^image 1: is uint8 \[20, 20\]"),
        (picture(20, 0), r"^image 1: is uint8 \[20, 0, 3\]"),
        (None, "^image 1: is a NoneType; expected a path"),
        (b"street.png", "^image 1: is a bytes; expected a path"),
    ],
)
def test_a_bad_image_is_named_when_it_is_reached(bad: Any, message: str) -> None:
    found = predict_images(SmallEngine(), [picture(20, 30), bad])
    assert len(next(found)) == 1
    with pytest.raises(UserError, match=message):
        next(found)


class WindowBox(BrightBox):
    """Takes 12 bits."""

    config = with_window(BrightBox.config, Window(low=0, high=4080))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3)])
def test_a_window_maps_arrays_of_other_numbers(dtype: str, shape: tuple[int, ...]) -> None:
    predictor = WindowBox()
    grey = np.full(shape[:2], 102, np.uint8)
    found = predict_images(predictor, [np.full(shape, 102 * 16, dtype), grey, np.dstack([grey] * 3)])
    assert [prediction.scores.tolist() for prediction in found] == [[pytest.approx(0.4)]] * 3


@pytest.mark.parametrize(
    ("predictor", "bad", "message"),
    [
        (BrightBox(), np.zeros((9, 9, 3), np.uint16), "expected uint8 .h, w, 3. RGB; a model with a window maps other"),
        (BrightBox(), np.zeros((9, 9)), "is float64 .9, 9., expected uint8"),
        (WindowBox(), np.zeros((9, 9, 4), np.uint16), r"is uint16 .9, 9, 4., expected real numbers, .h, w, 3. RGB or"),
        (WindowBox(), np.zeros((9, 9), bool), "is bool"),
        (WindowBox(), np.zeros((9, 9), complex), "is complex128"),
        (WindowBox(), np.zeros((9, 9), object), "is object"),
        (WindowBox(), np.zeros((0, 9), np.uint16), "is uint16 .0, 9."),
        (WindowBox(), np.zeros(9, np.uint16), "is uint16 .9."),
    ],
)
def test_arrays_that_no_window_maps_are_named(predictor: BrightBox, bad: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=f"^image 0: .*{message}"):
        list(predict_images(predictor, [bad]))


def test_a_deep_picture_is_drawn_as_it_was_predicted(tmp_path: Path) -> None:
    deep = (picture(40, 60, 204).astype(np.uint16)) * 16
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
    plain = write_picture(tmp_path / "plain.png")
    first, second = predict_images(WindowBox(), [tmp_path / "deep.png", plain])
    np.testing.assert_array_equal(first.draw(), second.draw())


def test_wrong_calls_are_named_before_the_first_image(source: Path) -> None:
    with pytest.raises(UserError, match=r"street\.png: expected a list of images, found one path"):
        predict_images(BrightBox(), str(source))
    with pytest.raises(UserError, match=r"found one array \[20, 30, 3\]; write \[image\]"):
        predict_images(BrightBox(), picture(20, 30))
    with pytest.raises(UserError, match="--batch-size is 0; expected at least 1"):
        predict_images(BrightBox(), [source], batch_size=0)


def test_neither_pytorch_nor_supervision_is_imported_until_asked_for() -> None:
    script = "import sys; sys.modules.update(torch=None, supervision=None); import engines, refinemask.prediction"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


class Pairs(BrightBox):
    """Takes batches of two or more, as a file does that was exported for them."""

    smallest_batch = 2

    def detect(self, images: np.ndarray, *args: Any, **phases: Any) -> list[Any]:
        assert len(images) >= self.smallest_batch
        return super().detect(images, *args, **phases)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_a_batch_that_is_too_small_is_filled_up(batch_size: int) -> None:
    images = [np.full((20 + number, 30, 3), 50 * number, np.uint8) for number in range(1, 6)]
    expected = [prediction.to_coco() for prediction in predict_images(BrightBox(), images, batch_size=batch_size)]
    found = list(predict_images(Pairs(), images, batch_size=batch_size))
    assert [prediction.to_coco() for prediction in found] == expected
    assert [prediction.height for prediction in found] == [21, 22, 23, 24, 25]


@pytest.mark.parametrize("field", ["boxes", "masks"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_an_error_that_names_the_engine(
    monkeypatch: pytest.MonkeyPatch, field: str, value: float
) -> None:
    def spoiled(detections: Any, *args: Any) -> Any:
        getattr(detections, field)[:, 0] = value
        return encode(detections, *args)

    monkeypatch.setattr("tests.support.bright_box.encode", spoiled)
    with pytest.raises(UserError, match=r"^bright box fp32: masks and boxes must be finite"):
        predict(BrightBox(), [np.full((20, 30, 3), 90, np.uint8)])


def test_polygons_are_the_parts_of_each_object() -> None:
    masks = boxes_of((1, 2, 4, 5), (7, 7, 9, 8))
    [first], [second] = prediction_of(masks).polygons()
    assert first.tolist() == [[1, 2], [4, 2], [4, 5], [1, 5]]
    assert second.tolist() == [[7, 7], [9, 7], [9, 8], [7, 8]]
    [parts] = prediction_of(masks.max(axis=0, keepdims=True)).polygons()
    assert len(parts) == 2


def test_objects_are_selected_by_class_and_score() -> None:
    found = prediction_of(boxes_of((1, 2, 4, 5), (7, 7, 9, 8), (0, 0, 3, 3)), labels=[1, 0, 1])
    assert found.select(["dog"]).to_coco() == [found.to_coco()[index] for index in (0, 2)]
    assert found.select(min_score=0.5).to_coco() == found.to_coco()[:2]
    assert found.select(["cat", "dog"], min_score=0.05).to_coco() == found.to_coco()
    assert len(found.select([])) == 0
    assert len(found.select(["cat"], min_score=0.9)) == 0


def test_a_class_that_is_not_the_models_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"^class 'dgo': the model has the classes cat, dog \(did you mean 'dog'\?\)$"):
        prediction_of(boxes_of()).select(["cat", "dgo"])
    many = ModelConfig(class_names=tuple(f"number {number}" for number in range(9)), category_ids=tuple(range(9)))
    with pytest.raises(UserError, match=r"^class 'x': the model has 9 classes: number 0, .*number 4, …$"):
        class_labels(many, ["x"])
    assert class_labels(many, ["number 3", "number 1"]) == [1, 3]
