"""Segmentations are polygons or run lengths that fill their image, or are refused in one line."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.coco_strings import coco_string
from refinemask.data.segmentation import LONGEST_OUTLINE, extent, read_segmentation
from refinemask.masks import segmentation_rle
from tests.support.mutations import LONGEST_MESSAGE

HEIGHT, WIDTH = 6, 8
PROPER = [1, 2, 4, 2, 4, 5]
SIZE = [HEIGHT, WIDTH]


@pytest.mark.parametrize(
    "segmentation",
    [None, [], [[]], [[], [1, 2]], [[1, 2, 3, 4]], [1, 2, 3, 4], {"size": SIZE, "counts": []},
     {"size": SIZE, "counts": ""}],
)  # fmt: skip
def test_what_has_no_area_is_none_whatever_its_spelling(segmentation: Any) -> None:
    assert read_segmentation(segmentation, HEIGHT, WIDTH) is None


def test_polygons_stay_the_lists_of_the_file() -> None:
    segmentation = read_segmentation([PROPER, [1, 2]], HEIGHT, WIDTH)
    assert isinstance(segmentation, list)
    assert segmentation[0] is PROPER
    assert len(segmentation) == 1


def test_a_polygon_may_stand_without_its_list() -> None:
    assert read_segmentation(PROPER, HEIGHT, WIDTH) == [PROPER]


@pytest.mark.parametrize("counts", [[5, 10, 33], [5.0, 10.0, 33.0], "5:Q1", b"5:Q1"])
def test_run_lengths_of_every_spelling(counts: Any) -> None:
    segmentation = read_segmentation({"size": [6.0, 8], "counts": counts, "more": 1}, HEIGHT, WIDTH)
    assert segmentation_rle(segmentation, HEIGHT, WIDTH) in (
        {"size": SIZE, "counts": "5:Q1"}, {"size": SIZE, "counts": b"5:Q1"}
    )  # fmt: skip


@pytest.mark.parametrize("runs", [[5, 0, 0, 10, 33], [5, 10, 33, 0], [2, 0, 3, 10, 30, 0, 3]])
def test_runs_without_a_pixel_are_joined(runs: list[int]) -> None:
    for counts in (runs, coco_string(runs)):
        segmentation = read_segmentation({"size": SIZE, "counts": counts}, HEIGHT, WIDTH)
        assert segmentation_rle(segmentation, HEIGHT, WIDTH)["counts"] == coco_string(joined(runs))


def joined(runs: list[int]) -> list[int]:
    pixels = np.repeat(np.arange(len(runs)) % 2, runs)
    starts = np.flatnonzero(np.diff(pixels, prepend=0))
    return np.diff(starts, prepend=0, append=len(pixels)).tolist()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("abc", "expected polygons or run lengths, found 'abc'"),
        (5, "expected polygons or run lengths, found 5"),
        (["abc"], r"\[0\]: expected list, found text"),
        ([""], r"\[0\]: expected list, found text"),
        ([{}], r"\[0\]: expected list, found object"),
        ([[1, 2, 3, 4, 5, None]], r"\[0\]\[5\]: expected number, found null"),
        ([[1, 2, 3, 4, 5, 10**400]], "out of range"),
        ([[1, 2, 3, 4, 5, float("inf")]], "not finite"),
        ([[1, 2, 3, 4, float("inf"), float("-inf")]], "not finite"),
        ([[1, 2, 3, 4, 5]], "odd number of coordinates"),
        ([1, 2, 3, 4, 5, 6, 7], "odd number of coordinates"),
        ([[1, 2], [4, 2], [4, 5]], r"found a list of points \[\[x, y\], …\]"),
        ([[[1, 2], [4, 2], [4, 5]]], r"\[0\]\[0\]: expected number, found list; expected polygons"),
        ([[0, 0, 0, 100] * 30_000], f"expected at most {LONGEST_OUTLINE}"),
        ({"size": SIZE}, "needs 'size' and 'counts'"),
        ({"size": 5, "counts": [48]}, "size: expected list, found whole number"),
        ({"size": [8, 6], "counts": [48]}, r"size \[8, 6\], its image has the height and width \[6, 8\]"),
        ({"size": SIZE, "counts": [47]}, "47 pixels together, expected the 48"),
        ({"size": SIZE, "counts": [40, 9]}, "49 pixels together, expected the 48"),
        ({"size": SIZE, "counts": [50, -2]}, r"counts\[1\]: expected whole number >= 0"),
        ({"size": SIZE, "counts": [47.5, 0.5]}, r"counts\[0\]: expected whole number"),
        ({"size": SIZE, "counts": [48, None]}, r"counts\[1\]: expected whole number, found null"),
        ({"size": SIZE, "counts": [10**30]}, r"counts\[0\]"),
        ({"size": SIZE, "counts": None}, "counts: expected list, found null"),
        ({"size": SIZE, "counts": "eJwDAAAAAAE="}, "none of COCO's compressed run lengths"),
        ({"size": SIZE, "counts": "b'5:Q1'"}, "none of COCO's compressed run lengths"),
        ({"size": SIZE, "counts": "ä"}, "none of COCO's compressed run lengths"),
        ({"size": SIZE, "counts": "5:Q"}, "an end in the middle of a run length"),
        ({"size": SIZE, "counts": "5:"}, "15 pixels together, expected the 48"),
        ({"size": SIZE, "counts": coco_string([50, -2])}, "below zero"),
        ({"size": SIZE, "counts": "PPPPPPPPPPPPPP0"}, "more than 30 bits"),
    ],
)
def test_malformed_segmentations_are_named(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_segmentation(segmentation, HEIGHT, WIDTH)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < LONGEST_MESSAGE


def test_far_polygons_are_kept_near_their_image() -> None:
    segmentation = read_segmentation([[0, 0, 1e12, 0, 1e12, 3, 0, 3]], HEIGHT, WIDTH)
    assert isinstance(segmentation, list)
    assert max(segmentation[0]) < 200
    assert segmentation_rle(segmentation, HEIGHT, WIDTH) == segmentation_rle([[0, 0, 8, 0, 8, 3, 0, 3]], HEIGHT, WIDTH)


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_the_extent_of_run_lengths_is_that_of_pycocotools(density: float) -> None:
    random = np.random.default_rng(3)
    for height, width in ((1, 1), (1, 9), (7, 1), (6, 11), (12, 5)):
        mask = np.asfortranarray(random.random((height, width)) < density, np.uint8)
        rle = coco_mask.encode(mask)
        assert extent(rle) == tuple(coco_mask.toBbox(rle))
