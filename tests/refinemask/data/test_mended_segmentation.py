"""Segmentations of other spellings mean what their tools meant, or are refused in one line."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.coco_strings import coco_string
from refinemask.data.mended_segmentation import boxes_differ, mend_segmentation
from refinemask.data.segmentation import read_segmentation
from refinemask.masks import segmentation_rle
from tests.support.mutations import LONGEST_MESSAGE

HEIGHT, WIDTH = 6, 8
SIZE = [HEIGHT, WIDTH]
TRIANGLE = [1.0, 2.0, 4.0, 2.0, 4.0, 5.0]
POINTS = [[1, 2], [4, 2], [4, 5]]
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[2:5, 1:3] = 1
BOX = (1.0, 2.0, 2.0, 3.0)
RUNS = [8, 3, 3, 3, 31]
"""The runs of ``MASK``, which is in ``BOX``."""


def decoded(segmentation: Any) -> NDArray[np.uint8]:
    return coco_mask.decode(segmentation_rle(segmentation, HEIGHT, WIDTH))


@pytest.mark.parametrize(
    "value",
    [POINTS, [POINTS], [[POINTS]], [[TRIANGLE]], [[[TRIANGLE]]], [[str(number) for number in TRIANGLE]],
     [str(number) for number in TRIANGLE], str([TRIANGLE]), str(TRIANGLE), [TRIANGLE, [1, 2, 3, 4, 5]],
     [TRIANGLE, [1, 2, 4, 2, 4, None]], [TRIANGLE, [1, 2, 4, 2, 4, float("nan")]], [TRIANGLE, "x"], [TRIANGLE, None]],
)  # fmt: skip
def test_polygons_of_other_spellings_are_polygons(value: Any) -> None:
    segmentation, what = mend_segmentation(value, HEIGHT, WIDTH, None)
    assert segmentation == [TRIANGLE]
    assert what.startswith("objects ")


def test_several_polygons_of_points_stay_several() -> None:
    other = [[5, 0], [7, 0], [7, 3], [5, 3]]
    segmentation, _ = mend_segmentation([POINTS, other], HEIGHT, WIDTH, None)
    assert segmentation == [TRIANGLE, [5, 0, 7, 0, 7, 3, 5, 3]]


def test_two_points_have_no_area() -> None:
    assert mend_segmentation([[[1, 2], [4, 2]]], HEIGHT, WIDTH, None)[0] is None


@pytest.mark.parametrize(
    "value",
    [
        {"size": SIZE, "counts": RUNS[:-1]},
        {"size": SIZE, "counts": [*RUNS[:-1], 30]},
        {"size": SIZE, "counts": coco_string(RUNS[:-1]).decode()},
        {"size": SIZE, "counts": str(coco_string(RUNS))},
        {"size": SIZE, "counts": f'b"{coco_string(RUNS).decode()}"'},
        {"size": SIZE, "counts": str(coco_string(RUNS[:-1]))},
        {"size": SIZE, "counts": str(RUNS)},
        {"counts": RUNS},
        [{"size": SIZE, "counts": RUNS}],
        f'{{"size": {SIZE}, "counts": {RUNS}}}',
        {"size": [WIDTH, HEIGHT], "counts": RUNS},
        {"size": [WIDTH, HEIGHT], "counts": coco_mask.encode(np.asfortranarray(MASK.T))["counts"]},
        {"size": [WIDTH, HEIGHT], "counts": coco_mask.encode(np.asfortranarray(MASK.T))["counts"].decode()},
    ],
)
def test_run_lengths_of_other_spellings_are_the_mask(value: Any) -> None:
    with pytest.raises(ValueError, match=r"segmentation|run lengths"):
        read_segmentation(value, HEIGHT, WIDTH)
    segmentation, what = mend_segmentation(value, HEIGHT, WIDTH, BOX)
    assert np.array_equal(decoded(segmentation), MASK)
    assert what.startswith("objects whose ")


def test_without_a_box_a_mask_of_width_and_height_is_transposed() -> None:
    rle = coco_mask.encode(np.asfortranarray(MASK.T))
    segmentation, _ = mend_segmentation({**rle, "size": list(rle["size"])}, HEIGHT, WIDTH, None)
    assert np.array_equal(decoded(segmentation), MASK)


def test_runs_of_the_box_alone_are_not_filled_up() -> None:
    with pytest.raises(ValueError, match=r"have 6 pixels together.*would not be where its box is"):
        mend_segmentation({"size": SIZE, "counts": [0, 6]}, HEIGHT, WIDTH, (4.0, 2.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("none", "expected polygons or run lengths, found 'none'"),
        (5, "expected polygons or run lengths, found 5"),
        (True, "expected polygons or run lengths, found True"),
        ([[1, 2, 3, 4, 5]], "odd number of coordinates"),
        ([[1, 2, 4, 2, 4, None]], r"\[0\]\[5\]: expected number, found null"),
        ([[1, 2, 3, 4, 5, float("inf")]], "not finite"),
        (["x"], r"\[0\]: expected list, found text"),
        ([{}, {}], r"\[0\]: expected list, found object"),
        ([[0, 0, 0, 100] * 30_000], "outline"),
        ({}, "counts: expected list, found null"),
        ({"size": SIZE, "counts": None}, "counts: expected list, found null"),
        ({"size": SIZE, "counts": [10, None]}, r"counts\[1\]: expected whole number, found null"),
        ({"size": 5, "counts": [10]}, "size: expected list, found whole number"),
        ({"size": [7, 9], "counts": RUNS}, r"of the size \[7, 9\], its image"),
        ({"size": [WIDTH, HEIGHT], "counts": [*RUNS, 500]}, "548 pixels together"),
        ({"size": SIZE, "counts": [*RUNS, 500, 500]}, "1048 pixels together, expected the 48"),
        ({"size": SIZE, "counts": [*RUNS[:-1], 32]}, "49 pixels together, expected the 48"),
        ({"size": SIZE, "counts": coco_string([50, -2])}, "below zero"),
        ({"size": SIZE, "counts": "eJwDAAAAAAE="}, "none of COCO's compressed run lengths"),
        ({"size": SIZE, "counts": "b'\\x'"}, "none of COCO's compressed run lengths"),
        ({"size": SIZE, "counts": "["}, "end in the middle of a run length|pixels together"),
        ("[" * 100_000, "expected polygons or run lengths"),
    ],
)
def test_what_is_not_certain_is_refused_by_name(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        mend_segmentation(value, HEIGHT, WIDTH, None)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("other", "differ"),
    [((100, 100, 50, 60), False), ((102, 98, 48, 62), False), ((103, 100, 50, 60), False), ((120, 100, 50, 60), True),
     ((100, 100, 150, 160), True), ((0, 0, 0, 0), True)],
)  # fmt: skip
def test_boxes_differ_where_they_cannot_be_of_one_object(other: Any, differ: bool) -> None:
    assert boxes_differ((100, 100, 50, 60), other) is differ
    assert boxes_differ(other, (100, 100, 50, 60)) is differ
