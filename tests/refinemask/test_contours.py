"""Polygons give back every pixel, whatever the mask."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.bundled import NUCLEI
from refinemask.contours import Polygon, outlines_of, polygons_of
from refinemask.files import UserError
from refinemask.masks import RLE, decode, polygon_rle

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))


def encoded(mask: NDArray[np.bool_]) -> RLE:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def area(polygon: Polygon) -> float:
    """The area by the shoelace formula, positive where the outline runs clockwise in the picture."""
    x, y = polygon.T.astype(np.int64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


@settings(max_examples=300, deadline=None)
@given(MASKS)
def test_every_mask_comes_back_and_areas_are_numbers_of_pixels(mask: NDArray[np.bool_]) -> None:
    polygons = polygons_of(mask)
    again = polygons_of(encoded(mask))
    assert [polygon.tolist() for polygon in again] == [polygon.tolist() for polygon in polygons]
    assert sum(map(area, polygons)) == mask.sum()
    if mask.any():
        assert polygon_rle([polygon.ravel() for polygon in polygons], *mask.shape) == encoded(mask)


def test_a_pixel_is_the_unit_square_behind_its_index() -> None:
    mask = np.zeros((5, 7), bool)
    mask[3, 5] = True
    assert [polygon.tolist() for polygon in polygons_of(mask)] == [[[5, 3], [6, 3], [6, 4], [5, 4]]]


def test_parts_are_separate_and_a_hole_belongs_to_the_part_around_it() -> None:
    mask = np.zeros((9, 20), bool)
    mask[1:8, 1:8] = mask[2:5, 10:14] = mask[5, 14] = True
    mask[3:5, 3:5] = False
    polygons = polygons_of(mask)
    assert [len(polygon) for polygon in polygons] == [4 + 4 + 2, 4, 4], "what touches at a corner is apart"
    assert [area(polygon) for polygon in polygons] == [49 - 4, 12, 1]


def test_an_empty_mask_has_no_polygon() -> None:
    assert polygons_of(np.zeros((4, 5), bool)) == []
    assert polygons_of(encoded(np.zeros((4, 5), bool))) == []


def test_simpler_outlines_of_nuclei_lose_little() -> None:
    content = json.loads((NUCLEI / "annotations" / "instances_val.json").read_text())
    entries = [entry["segmentation"] for entry in content["annotations"][:100]]
    rles: list[RLE] = [{"size": rle["size"], "counts": rle["counts"].encode()} for rle in entries]
    corners, overlaps = [], []
    for tolerance in (0.0, 1.0):
        polygons = [polygons_of(rle, tolerance) for rle in rles]
        corners.append(sum(len(part) for parts in polygons for part in parts))
        back = [
            polygon_rle([part.ravel() for part in parts], *rle["size"])
            for parts, rle in zip(polygons, rles, strict=True)
        ]
        overlaps.append([coco_mask.iou([one], [other], [0])[0, 0] for one, other in zip(back, rles, strict=True)])
    assert min(overlaps[0]) == 1
    assert corners[1] < corners[0] / 2
    assert 0.8 < np.mean(overlaps[1]) < 1


def test_a_part_that_would_vanish_stays_whole() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1, 1] = True
    [polygon] = polygons_of(mask, 3.0)
    assert area(polygon) == 1


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_of_pixels(tolerance: float) -> None:
    with pytest.raises(UserError, match=r"tolerance is .*, expected pixels, 0 or more"):
        polygons_of(np.ones((2, 2), bool), tolerance)


def test_outlines_hold_the_pixels_that_an_odd_number_of_them_surrounds() -> None:
    mask = np.zeros((9, 12), bool)
    mask[2:8, 3:11] = True
    mask[4:7, 5:9] = False
    mask[5, 6] = True
    found = outlines_of(mask)
    assert [(each.min(axis=0).tolist(), each.max(axis=0).tolist()) for each in found] == [
        ([3, 2], [11, 8]),
        ([5, 4], [9, 7]),
        ([6, 5], [7, 6]),
    ]
    filled = np.zeros_like(mask)
    for outline in found:
        filled ^= decode([polygon_rle([outline.ravel()], 9, 12)], 9, 12)[0]
    assert (filled == mask).all()
    assert outlines_of(np.zeros((3, 3), bool)) == []
