"""Pasting straight into run lengths equals sampling every pixel."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from refinemask.coco_strings import coco_runs
from refinemask.masks import decode, paste_rle, segmentation_rle
from tests.support.tolerances import TOLERANCES


def sampled(mask: np.ndarray, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """[height, width] float64 bilinear samples at every pixel centre of the image, by the plain formula."""
    mask, (x1, y1, x2, y2) = np.pad(mask.astype(np.float64), 1), box.astype(np.float64)

    def weights(low: float, high: float, pixels: int, samples: int) -> np.ndarray:
        position = (np.arange(pixels) + 0.5 - low) / (high - low) * samples - 0.5
        return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(-1, samples + 1)))

    rows, columns = mask.shape[0] - 2, mask.shape[1] - 2
    return weights(y1, y2, height, rows) @ mask @ weights(x1, x2, width, columns).T


def paste(masks: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """[N, height, width] boolean masks."""
    return decode(paste_rle(masks, boxes, height, width), height, width)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def test_golden_pasted_masks(golden: Callable[[str], dict[str, np.ndarray]]) -> None:
    stored = golden("mask_head")
    probabilities = sigmoid(stored["refined_logits"][:, 0])
    boxes = stored["rois"][:, 1:] / stored["scale_factor"]
    shape = stored["pasted_shape"]
    expected = np.unpackbits(stored["pasted_bits"])[: shape.prod()].reshape(shape).astype(bool)
    pasted = paste(probabilities, boxes, *stored["ori_shape"].tolist())
    np.testing.assert_array_equal(pasted, expected)


def test_golden_masks_of_the_whole_detector(golden: Callable[[str], dict[str, np.ndarray]]) -> None:
    stored = golden("detector")
    logits = stored["final_logits_first12"].astype(np.float32)
    pasted = paste(
        sigmoid(logits.reshape(12, 112, 112)),
        stored["det_bboxes"][:12, :4],
        *stored["ori_shape"].tolist(),
    )
    expected = np.unpackbits(stored["mask_bits"])[: stored["mask_shape"].prod()].reshape(stored["mask_shape"])[:12]
    assert np.count_nonzero(pasted != expected) <= TOLERANCES["pasted pixels"].absolute


COORDINATE = st.floats(-40, 90, width=32)


@settings(deadline=None, max_examples=300)
@given(
    corners=st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    samples=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    sharpness=st.sampled_from([1.0, 4.0, 1000.0]),
    seed=st.integers(0, 2**16),
)
def test_any_box_equals_float64_sampling(
    corners: tuple[float, ...], shape: tuple[int, int], samples: tuple[int, int], sharpness: float, seed: int
) -> None:
    x1, y1, x2, y2 = corners
    box = np.array([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)], np.float32)
    if min(box[2:] - box[:2]) < 1e-2:
        return
    noise = np.random.default_rng(seed).normal(0, sharpness, samples)
    mask = (1 / (1 + np.exp(-noise.clip(-80, 80)))).astype(np.float32)
    value = sampled(mask, box, *shape)
    [rle] = paste_rle(mask[None], box[None], *shape)
    pasted = coco_mask.decode(rle).astype(bool)
    # Positions are float32: a steep mask on a small box magnifies their rounding.
    slope = max(samples) / min(box[2:] - box[:2])
    decided = np.abs(value - 0.5) > TOLERANCES["mask sample position"].absolute * max(1, slope)
    np.testing.assert_array_equal(pasted[decided], (value >= 0.5)[decided])
    # The string is the one pycocotools makes of these pixels: no empty or split runs.
    assert rle == coco_mask.encode(np.asfortranarray(pasted, dtype=np.uint8))


def test_one_pixel_image() -> None:
    [full] = paste_rle(np.ones((1, 28, 28), np.float32), np.array([[0, 0, 1, 1]], np.float32), 1, 1)
    assert full == coco_mask.encode(np.ones((1, 1), np.uint8, order="F"))


def test_no_masks() -> None:
    empty = np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32)
    assert paste_rle(*empty, 30, 40) == []
    assert decode([], 30, 40).shape == (0, 30, 40)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    masks, boxes = np.ones((2, 4, 4), np.float32), np.array([[0, 0, 5, 5], [0, 0, 5, 5]], np.float32)
    boxes[1, 2] = value
    with pytest.raises(ValueError, match="finite"):
        paste_rle(masks, boxes, 8, 8)
    boxes[1, 2], masks[1, 1, 1] = 5, value
    with pytest.raises(ValueError, match="finite"):
        paste_rle(masks, boxes, 8, 8)


def test_each_mask_needs_a_box() -> None:
    with pytest.raises(ValueError, match="2 masks and 1 boxes"):
        paste_rle(np.ones((2, 4, 4), np.float32), np.zeros((1, 4), np.float32), 8, 8)


def test_segmentations_of_every_kind_have_the_same_mask() -> None:
    polygon = [[1.0, 1.0, 6.0, 1.0, 6.0, 4.0, 1.0, 4.0]]
    rle = segmentation_rle(polygon, 8, 10)
    [mask] = decode([rle], 8, 10)
    assert mask[1:4, 1:6].all()
    assert mask.sum() == 15
    runs = np.diff(np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=0, append=0)), prepend=0, append=80)
    assert segmentation_rle({"size": [8, 10], "counts": runs.tolist()}, 8, 10) == rle
    assert segmentation_rle(rle, 8, 10) == rle


def test_a_mask_of_a_few_long_runs_has_its_string() -> None:
    """A side of a tall image: pycocotools would be asked for four runs of 2^24 and more."""
    height = 1 << 25
    masks, boxes = np.ones((1, 4, 4), np.float32), np.array([[1, -height, 2, 2 * height]], np.float32)
    (rle,) = paste_rle(masks, boxes, height, 3)
    assert coco_runs(rle["counts"]).tolist() == [height, height, height]


@pytest.mark.parametrize("size", [1e10, 9.3e18, 1e30, 3e38])
def test_boxes_as_large_as_numbers_go(size: float) -> None:
    """Finite boxes far outside an image have no pixel in it, and those around it all."""
    masks = np.ones((5, 28, 28), np.float32)
    near = size / 10
    boxes = [[near, 0, size, 10], [0, -size, 10, -near], [-size, -size, -near, -near], [size, size, -size, -size]]
    pasted = paste(masks, np.array([*boxes, [-near, -near, near, near]], np.float32), 64, 48)
    assert not pasted[:4].any()
    assert pasted[4].all()
