"""Pasting straight into run lengths equals sampling every pixel."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.masks import (
    coco_runs,
    coco_string,
    decode,
    fill_image,
    paste_rle,
    pycocotools_has_room,
    segmentation_rle,
)
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


RUNS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9)


def runs_of(string: bytes) -> list[int]:
    """The run lengths that a string of COCO's stands for (``rleFrString``)."""
    runs: list[int] = []
    place = 0
    while place < len(string):
        value = shift = 0
        while True:
            byte = string[place] - 48
            value |= (byte & 0x1F) << shift
            place, shift = place + 1, shift + 5
            if not byte & 0x20:
                break
        if byte & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


@given(RUNS)
def test_a_string_stands_for_its_runs(runs: list[int]) -> None:
    assert runs_of(coco_string(runs)) == runs


@given(st.lists(st.integers(0, 2**29 - 1), max_size=30))
def test_a_string_is_read_as_it_was_written(runs: list[int]) -> None:
    assert coco_runs(coco_string(runs)).tolist() == runs


@given(RUNS)
def test_strings_are_those_of_pycocotools_wherever_it_has_room(runs: list[int]) -> None:
    assume(pycocotools_has_room(np.array(runs)))
    assert len(coco_string(runs)) < 6 * len(runs), "with the zero behind, or memory would be overwritten"
    assert coco_string(runs) == coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))["counts"]


@pytest.mark.parametrize("runs", [[0, 2**30, 2**30, 2**30], [2**24] * 5, [2**31 - 1]])
def test_pycocotools_is_not_asked_where_it_might_write_beyond_its_memory(runs: list[int]) -> None:
    assert not pycocotools_has_room(np.array(runs))


def test_a_mask_of_a_few_long_runs_has_its_string() -> None:
    """A side of a tall image: pycocotools would be asked for four runs of 2^24 and more."""
    height = 1 << 25
    masks, boxes = np.ones((1, 4, 4), np.float32), np.array([[1, -height, 2, 2 * height]], np.float32)
    (rle,) = paste_rle(masks, boxes, height, 3)
    assert runs_of(rle["counts"]) == [height, height, height]


@pytest.mark.parametrize("size", [1e10, 9.3e18, 1e30, 3e38])
def test_boxes_as_large_as_numbers_go(size: float) -> None:
    """Finite boxes far outside an image have no pixel in it, and those around it all."""
    masks = np.ones((5, 28, 28), np.float32)
    near = size / 10
    boxes = [[near, 0, size, 10], [0, -size, 10, -near], [-size, -size, -near, -near], [size, size, -size, -size]]
    pasted = paste(masks, np.array([*boxes, [-near, -near, near, near]], np.float32), 64, 48)
    assert not pasted[:4].any()
    assert pasted[4].all()


def random_runs(random: np.random.Generator, pixels: int) -> NDArray[np.int64]:
    """Run lengths that fill an image, of which the first may be empty."""
    edges = np.sort(random.choice(np.arange(1, pixels), int(random.integers(1, 200)), replace=False))
    runs = np.diff(np.concatenate(([0], edges, [pixels])))
    return np.concatenate(([0], runs)) if random.random() < 0.3 else runs


DAMAGE: dict[str, Callable[[NDArray[np.int64]], NDArray[np.int64]]] = {
    "a pixel more": lambda runs: np.concatenate((runs[:-1], runs[-1:] + 1)),
    "a run less": lambda runs: runs[:-1],
    "an empty run": lambda runs: np.concatenate((runs, [0])),
    "a run below zero": lambda runs: np.concatenate((runs[:-1], runs[-1:] + 5, [-5])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_many_strings_fill_an_image_if_each_does(damage: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> None:
    random, pixels = np.random.default_rng(0), 480 * 640
    runs = [random_runs(random, pixels) for _ in range(60)]
    strings = [coco_string(each.tolist()) for each in runs]
    assert all(np.array_equal(coco_runs(string), each) for string, each in zip(strings, runs, strict=True))
    assert fill_image(strings, pixels)
    for number, each in enumerate(runs):
        damaged = [*strings[:number], coco_string(damage(each).tolist()), *strings[number + 1 :]]
        assert not fill_image(damaged, pixels)


def test_strings_that_fill_an_image_only_together_do_not() -> None:
    first, second = coco_string([100, 200, 300]), coco_string([600])
    assert fill_image([first, second], 600)
    assert not fill_image([first[:-1], first[-1:] + second], 600)
    assert not fill_image([first, b"", second], 600)
