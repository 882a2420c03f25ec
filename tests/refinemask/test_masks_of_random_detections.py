"""Pasting the detections of PyTorch: the strings of the usual route, in little memory."""

import tracemalloc

import numpy as np
import pytest
import torch

from benchmarks.harness.random_detections import random_detections
from benchmarks.paste import our_route, paste_per_box, usual_route
from refinemask.masks import decode, paste_rle


@pytest.mark.parametrize(("mask_size", "height", "width"), [(112, 480, 640), (28, 300, 200), (14, 64, 1333)])
def test_strings_equal_the_usual_route(mask_size: int, height: int, width: int) -> None:
    masks, boxes = random_detections(25, height, width, mask_size=mask_size)
    assert our_route(masks, boxes, height, width) == usual_route(masks, boxes, height, width)


@pytest.mark.parametrize("mask_size", [1, 2, 28])
@pytest.mark.parametrize(
    "box",
    [(5, 3, 5, 9), (5, 3, 9, 3), (0, 0, 0, 0), (40, 30, 40, 30), (4.25, 4.25, 4.25, 4.25), (2, 2, 2 + 1e-6, 8)],
)
def test_boxes_without_extent_equal_the_usual_route(mask_size: int, box: tuple[float, ...]) -> None:
    masks, boxes = torch.full((1, mask_size, mask_size), 0.9), torch.tensor([box])
    assert our_route(masks, boxes, 30, 40) == usual_route(masks, boxes, 30, 40)


@pytest.mark.parametrize(
    "box", [(0, 0, 40, 30), (-5, -5, 45, 35), (0, 0, 7, 30), (33, 0, 40, 30), (-1e4, -1e4, 1e4, 1e4), (50, 50, 60, 60)]
)
def test_full_masks_at_the_border_equal_the_usual_route(box: tuple[float, ...]) -> None:
    masks, boxes = torch.ones(1, 28, 28), torch.tensor([box]).float()
    assert our_route(masks, boxes, 30, 40) == usual_route(masks, boxes, 30, 40)


def test_decoded_masks_equal_full_sampling() -> None:
    masks, boxes = random_detections(5, 60, 80, mask_size=28)
    pasted = decode(paste_rle(masks.numpy(), boxes.numpy(), 60, 80), 60, 80)
    assert pasted.dtype == bool
    np.testing.assert_array_equal(pasted, paste_per_box(masks, boxes, 60, 80))


def test_memory_depends_on_neither_the_number_of_masks_nor_the_image() -> None:
    masks, boxes = random_detections(20, 2000, 3000, mask_size=28)
    many = masks.repeat(20, 1, 1).numpy(), boxes.repeat(20, 1).numpy()
    tracemalloc.start()
    strings = paste_rle(*many, 2000, 3000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(strings) == 400
    assert peak < 400 * 2000 * 3000 / 100
