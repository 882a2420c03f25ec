"""``Engine.predict`` of real engines: the same predictions as the command's, whatever the images come as."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import engines
from refinemask import predict as command
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.prediction import predict
from refinemask.weights import save_detector
from tests.support.tiny_detector import make_tiny_detector
from tests.support.tolerances import assert_near


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for name, shape in (("a.png", (60, 90, 3)), ("b.png", (90, 50, 3)), ("c.png", (64, 64, 3))):
        paths.append(tmp_path / name)
        pixels = np.random.default_rng(len(paths)).integers(0, 256, shape, dtype=np.uint8)
        assert cv2.imwrite(str(paths[-1]), pixels)
    return paths


def test_the_predictions_are_those_of_the_command(checkpoint: Path, pictures: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "command"
    args = command.Args(images=tuple(pictures), model=checkpoint, output=output, threads=1)
    assert command.main(args) == 0
    engine = engines.load(checkpoint, threads=1)
    results = []
    for image_id, found in enumerate(engine.predict(pictures), start=1):
        assert found.path is not None
        results += [{"file_name": found.path.name, **result} for result in found.to_coco(image_id)]
        saved = found.save(tmp_path / "library")
        assert saved.read_bytes() == (output / saved.name).read_bytes()
    assert len(results) > 3
    assert results == json.loads((output / "results.json").read_text())


def test_a_batch_of_files_and_arrays_of_different_sizes(checkpoint: Path, pictures: list[Path]) -> None:
    engine = engines.load(checkpoint, threads=1)
    images = [read_image(path) for path in pictures]
    mixed = list(engine.predict([pictures[0], images[1], str(pictures[2])], batch_size=2))
    assert [found.path for found in mixed] == [pictures[0], None, pictures[2]]
    # A detector sees the padding of its batch, and each is padded as it would be alone.
    for ours, image in zip(mixed, images, strict=True):
        [expected] = predict(engine, [image])
        assert ours.to_coco() == expected.to_coco()
        assert ours.masks().shape == (len(ours), ours.height, ours.width)
    assert sum(map(len, mixed)) > 3


def test_an_exported_file_predicts_images_in_their_own_pixels(
    toy_onnx: Callable[..., Path], pictures: list[Path]
) -> None:
    bounds = {"batch": [1, 1, 4], "height": [32, 800, 1344], "width": [32, 800, 1344]}
    engine = engines.load(toy_onnx(bounds=json.dumps(bounds)), threads=1)
    shapes = [(60, 90), (90, 50), (64, 64)]
    for found, (height, width) in zip(engine.predict(pictures, batch_size=2), shapes, strict=True):
        assert found.class_names == ("nucleus",) * 3
        assert_near(found.boxes[0], [0, 0, width, height], "exact in float32")
        assert found.masks().shape == (3, height, width)
        assert found.masks()[0, height // 2, width // 2]


def test_an_image_that_does_not_fit_the_file_is_named(toy_onnx: Callable[..., Path], pictures: list[Path]) -> None:
    engine = engines.load(toy_onnx(), threads=1)
    with pytest.raises(UserError, match=r"a\.png: an image of 800x1200 does not fit: this file takes a height up to"):
        next(engine.predict(pictures))
    assert list(engine.predict([])) == []
