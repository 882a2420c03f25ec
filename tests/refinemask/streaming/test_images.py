"""Which images are divided, how their tiles run together, and that all others are predicted as without tiles."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

import engines
from refinemask.bundled import DEMO, NUCLEI
from refinemask.contract import InputError
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.sources.given import ImageSource
from refinemask.streaming.images import predict_images
from tests.support.bright_box import BrightBox
from tests.support.coloured_objects import ColouredObjects
from tests.support.tolerances import TOLERANCES


def picture(height: int, width: int, red: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[5:-5, 5:-5, 0] = red
    return image


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_images_that_fit_a_tile_are_predicted_as_without(batch_size: int) -> None:
    images = [np.full((20 + number, 64 - number, 3), 50 * number, np.uint8) for number in range(1, 6)]
    plain, tiled = BrightBox(), BrightBox()
    expected = [found.to_coco() for found in predict_images(plain, images, batch_size=batch_size)]
    found = [found.to_coco() for found in predict_images(tiled, images, batch_size=batch_size, tile=64)]
    assert found == expected
    assert sorted(tiled.seen) == sorted(plain.seen), "the same batches"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_large_and_small_images_keep_their_order(batch_size: int, tmp_path: Path) -> None:
    shapes = [(64, 40), (64, 100), (64, 30), (31, 64), (130, 64)]
    images = [picture(*shape, 40 * number) for number, shape in enumerate(shapes, start=1)]
    cv2.imwrite(str(tmp_path / "large.png"), images[1][..., ::-1])
    predictor = ColouredObjects(64)
    mixed: list[ImageSource] = [images[0], tmp_path / "large.png", *images[2:]]
    found = list(predict_images(predictor, mixed, batch_size=batch_size, tile=64, overlap=16))
    assert [each.path for each in found] == [None, tmp_path / "large.png", None, None, None]
    for image, each in zip(images, found, strict=True):
        assert (each.height, each.width) == image.shape[:2]
        [mask] = each.masks()
        np.testing.assert_array_equal(mask, image[..., 0] > 0)
    assert max(predictor.batches) <= batch_size


def test_tiles_run_in_batches() -> None:
    predictor = ColouredObjects(64)
    next(predict_images(predictor, [picture(64, 300, 200)], batch_size=4, tile=64, overlap=16))
    assert sorted(predictor.batches) == [2, 4]


class Pairs(ColouredObjects):
    """Takes batches of two or more."""

    smallest_batch = 2


def test_a_file_that_takes_no_single_image_runs_no_copies_but_the_last() -> None:
    predictor = Pairs(64)
    [found] = predict_images(predictor, [picture(64, 130, 200)], tile=64, overlap=16)
    assert predictor.batches == [2, 2]
    np.testing.assert_array_equal(found.masks()[0], picture(64, 130, 200)[..., 0] > 0)


class Small(ColouredObjects):
    """Takes images of up to 64 pixels."""

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        if max(map(max, image_shapes)) > 64:
            raise InputError("an image does not fit")
        return None


def test_only_the_tiles_must_fit_the_predictor() -> None:
    images = [picture(64, 100, 200)]
    assert len(next(predict_images(Small(64), images, tile=64))) == 1
    with pytest.raises(UserError, match="image 0: an image does not fit"):
        next(predict_images(Small(64), images, tile=65))


def test_impossible_tiles_are_refused_before_the_first_image() -> None:
    with pytest.raises(UserError, match="--tile is 16; expected"):
        predict_images(BrightBox(), [picture(20, 30, 9)], tile=16)
    with pytest.raises(UserError, match="--overlap is 8, but there are no tiles"):
        predict_images(BrightBox(), [picture(20, 30, 9)], overlap=8)


@pytest.mark.slow
def test_real_nuclei_are_found_in_tiles_as_in_the_whole_picture() -> None:
    engine = engines.load(DEMO / "weights" / "refinemask-nuclei.safetensors", threads=1)
    names = "0079.png", "0106.png", "0058.png", "0040.png"
    images = [read_image(NUCLEI / "images" / name) for name in names]
    mosaic = np.concatenate([np.concatenate(images[:2], axis=1), np.concatenate(images[2:], axis=1)])
    [tiled] = engine.predict([mosaic], tile=256, overlap=64)
    # The network sees a picture of 256 pixels as 384, so at the same scale it sees the mosaic of 512 as 768.
    preprocessing = replace(engine.config.preprocessing, short_side=768, long_side=768)
    engine.config = replace(engine.config, preprocessing=preprocessing)
    [whole] = engine.predict([mosaic])
    assert len(whole) < engine.config.box_head.detections, "or the whole picture would hide objects"
    ours, expected = (
        [rle for rle, score in zip(p.rles, p.scores, strict=True) if score >= 0.5] for p in (tiled, whole)
    )
    assert len(expected) > 20
    assert abs(len(ours) - len(expected)) <= 2, "a score near the limit"
    overlaps = coco_mask.iou(ours, expected, [0] * len(expected))
    assert np.count_nonzero(overlaps.max(axis=0) < 0.5) <= 2
    assert np.median(overlaps.max(axis=0)) >= 1 - TOLERANCES["overlap of joined masks"].absolute
    assert len(np.unique(overlaps.argmax(axis=0))) == len(expected), "each has its own"
    print(len(ours), len(expected), np.sort(overlaps.max(axis=0)).round(2))
