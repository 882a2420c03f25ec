"""Edges of runs are moved, measured and united exactly as pixels are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from refinemask.mask_edges import area, area_within, encode, intersection_area, on_grid, placed, sampled, union
from refinemask.masks import RLE

SIDES = st.integers(1, 9)


@st.composite
def masks_in_images(draw: st.DrawFn, count: int) -> tuple[tuple[int, int], list[tuple[RLE, int, int, np.ndarray]]]:
    """An image's (height, width), and masks of parts of it: the part's RLE, left, top, and the mask in the image."""
    height, width = draw(SIDES), draw(SIDES)
    parts = []
    for _ in range(count):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        shape = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
        # Both full masks and empty ones come often.
        part = draw(arrays(np.uint8, shape, elements=st.integers(0, 1), fill=st.integers(0, 1)))
        whole = np.zeros((height, width), bool)
        whole[top : top + shape[0], left : left + shape[1]] = part
        parts.append((coco_mask.encode(np.asfortranarray(part)), left, top, whole))
    return (height, width), parts


@settings(deadline=None, max_examples=150)
@given(masks_in_images(1), st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_a_part_is_placed_in_its_image(
    case: tuple[tuple[int, int], list[tuple[RLE, int, int, np.ndarray]]], box: list[int]
) -> None:
    (height, width), [(rle, left, top, whole)] = case
    edges = placed(rle, left, top, height)
    assert encode(edges, height, width) == coco_mask.encode(np.asfortranarray(whole, np.uint8))
    assert area(edges) == whole.sum()
    assert area_within(edges, box, height) == whole[box[1] : box[3], box[0] : box[2]].sum()
    rows, columns = np.arange(height)[box[0] :: 2], np.arange(width)[box[1] :: 2]
    np.testing.assert_array_equal(sampled(edges, rows, columns, height), whole[np.ix_(rows, columns)])


@settings(deadline=None, max_examples=150)
@given(masks_in_images(3))
def test_unions_and_intersections_are_those_of_the_pixels(
    case: tuple[tuple[int, int], list[tuple[RLE, int, int, np.ndarray]]],
) -> None:
    (height, width), parts = case
    edges = [placed(rle, left, top, height) for rle, left, top, _ in parts]
    pixels = [whole for *_, whole in parts]
    assert intersection_area(edges[0], edges[1]) == (pixels[0] & pixels[1]).sum()
    for count in (1, 2, 3):
        united = union(edges[:count])
        expected = np.any(pixels[:count], axis=0)
        assert area(united) == expected.sum()
        assert encode(united, height, width) == coco_mask.encode(np.asfortranarray(expected, np.uint8))
        assert area_within(united, (0, 0, width, height), height) == expected.sum()


@pytest.mark.parametrize("side", [10_000, 50_000])
def test_pixel_indices_of_huge_images(side: int) -> None:
    square = coco_mask.encode(np.ones((3, 2), np.uint8, order="F"))
    edges = placed(square, side - 2, side - 3, side)
    assert area(edges) == 6
    assert edges[-1] == side * side
    found = encode(edges, side, side)
    assert found["size"] == [side, side]
    assert coco_mask.area(found) == 6
    np.testing.assert_array_equal(coco_mask.toBbox(found), [side - 2, side - 3, 2, 3])


def test_a_grid_of_every_pixel_is_the_part_itself_and_a_coarser_one_has_the_middles() -> None:
    mask = np.random.default_rng(0).random((12, 18)) < 0.5
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    encodings: list[Any] = [rle, {**rle, "counts": rle["counts"].decode()}]
    for each in encodings:
        assert np.array_equal(on_grid(each, (3, 2, 18, 12), (10, 15)), mask[2:, 3:])
        assert np.array_equal(on_grid(each, (0, 0, 18, 12), (4, 6)), mask[1::3, 1::3])
