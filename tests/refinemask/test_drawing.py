"""Drawings show the objects where they are, at a readable size."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.drawing import HUGE, LARGEST, SMALLEST, draw
from refinemask.evaluation.predictions import Result

NAMES = {4: "disk", 9: "square"}


def box_result(x: int, y: int, width: int, height: int, shape: tuple[int, int], category: int = 9) -> Result:
    mask = np.zeros(shape, np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = coco_mask.encode(mask)
    return {"category_id": category, "bbox": [x, y, width, height], "score": 0.9, "segmentation": rle}


def changed(image: np.ndarray, drawing: np.ndarray) -> np.ndarray:
    return (image != drawing).any(-1)


def test_the_mask_is_coloured_and_the_rest_is_not() -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    drawing = draw(image, [box_result(100, 200, 50, 60, (480, 640))], {9: "square"})
    assert drawing.shape == image.shape
    assert drawing.dtype == np.uint8
    assert (image == 128).all(), "the image itself is left alone"
    touched = changed(image, drawing)
    assert touched[200:260, 100:150].all()
    assert not touched[:195].any()
    assert not touched[:, :95].any()


def test_names_only_where_there_are_several_classes_and_room() -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    large, small = box_result(100, 200, 80, 60, (480, 640)), box_result(400, 200, 8, 6, (480, 640))
    for result, names, named in ((large, NAMES, True), (small, NAMES, False), (large, {9: "square"}, False)):
        assert changed(image, draw(image, [result], names))[170:195].any() == named


def test_objects_of_one_class_have_colours_of_their_own() -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    results = [box_result(20 * i, 10, 15, 15, (480, 640)) for i in range(30)]
    drawing = draw(image, results, {9: "square"})
    centres = {tuple(drawing[17, 20 * i + 7]) for i in range(21)}
    assert len(centres) == 21
    by_class = draw(image, results, NAMES)
    assert len({tuple(by_class[17, 20 * i + 7]) for i in range(21)}) == 1


@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (200, 8000), (2000, 1500)])
def test_size(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    drawing = draw(image, [box_result(0, 0, shape[1], shape[0], shape)], NAMES)
    assert max(drawing.shape) == np.clip(max(shape), SMALLEST, LARGEST)
    assert changed(np.zeros_like(drawing), drawing).mean() > 0.9
    assert draw(image, [], NAMES).shape == drawing.shape


@pytest.mark.parametrize("category", [4, 9])
def test_a_huge_image_is_drawn_like_a_smaller_one(category: int) -> None:
    shape = HUGE, 1000
    image = np.full((*shape, 3), 128, np.uint8)
    touched = changed(np.full((LARGEST, 250, 3), 128, np.uint8), draw(image, [
        box_result(100, 200, 500, 600, shape, category),
        box_result(0, 6000, 1000, 400, shape, category),
    ], {category: "square"}))  # fmt: skip
    expected = np.zeros((LARGEST, 250), bool)
    expected[50:200, 25:150] = expected[1500:] = True
    assert touched[expected].all()
    # Outlines are two pixels wide.
    assert not (touched & ~cv2.dilate(expected.view(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)).any()
