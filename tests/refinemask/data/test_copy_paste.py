"""Objects that are pasted into another image: pixels, masks, boxes and class maps stay together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinemask.data.copy_paste import SMALLEST_SHARE, copy_paste
from refinemask.data.example import Example
from refinemask.data.geometry import Bitmap, Polygons, bitmap_box, rasterise


def scene(random: np.random.Generator, shape: tuple[int, int], colour: int, polygons: bool, count: int = 4) -> Example:
    """Rectangles on one colour; label and class of each are ``colour`` and its number."""
    height, width = shape
    boxes, masks = [], []
    for _ in range(count):
        x1, x2 = np.sort(random.choice(width + 1, 2, replace=False)).astype(float)
        y1, y2 = np.sort(random.choice(height + 1, 2, replace=False)).astype(float)
        boxes.append([x1, y1, x2, y2])
        polygon: Polygons = [np.array([x1, y1, x2, y1, x2, y2, x1, y2])]
        masks.append(polygon if polygons else rasterise(polygon, height, width))
    return Example(
        pixels=np.full((height, width, 3), colour, np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=colour + np.arange(count),
        masks=masks,
        semantic=np.full(shape, colour, np.uint8),
    )


def dense(mask: Polygons | Bitmap, shape: tuple[int, int]) -> Bitmap:
    return mask if isinstance(mask, np.ndarray) else rasterise(mask, *shape)


sides = st.tuples(st.integers(8, 40), st.integers(8, 40))


@given(seed=st.integers(0, 1 << 32), target=sides, source=sides, polygons=st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_is_pasted_is_what_the_masks_say(
    seed: int, target: tuple[int, int], source: tuple[int, int], polygons: bool
) -> None:
    random = np.random.default_rng(seed)
    below, above = scene(random, target, 50, polygons), scene(random, source, 200, polygons)
    before = below.pixels.copy()
    result = copy_paste(below, above, random)
    assert np.array_equal(below.pixels, before)
    pasted = np.zeros(target, bool)
    for mask, label in zip(result.masks, result.labels, strict=True):
        if label >= 200:
            pasted |= dense(mask, target) == 1
    assert np.array_equal(result.pixels[..., 0] == 200, pasted)
    assert result.semantic is not None
    assert np.array_equal(result.semantic == 200, pasted)
    remaining = dict(zip(result.labels.tolist(), result.masks, strict=True))
    for label, old in zip(below.labels.tolist(), below.masks, strict=True):
        whole = dense(old, target)
        visible = whole & ~pasted
        if label in remaining:
            new = remaining[label]
            assert np.array_equal(dense(new, target), visible)
            assert visible.sum() >= SMALLEST_SHARE * whole.sum()
            # Only a covered polygon becomes a bitmap.
            assert isinstance(new, list) == (polygons and np.array_equal(visible, whole))
        else:
            assert visible.sum() < SMALLEST_SHARE * whole.sum()
    for box, mask in zip(result.boxes, result.masks, strict=True):
        assert np.array_equal(bitmap_box(dense(mask, target)), box)


def test_nothing_to_paste_changes_nothing() -> None:
    random = np.random.default_rng(0)
    below, empty = scene(random, (20, 30), 50, True), scene(random, (20, 30), 200, True, count=0)
    assert copy_paste(below, empty, random) is below


def test_an_image_without_objects_takes_some() -> None:
    random = np.random.default_rng(0)
    empty, above = scene(random, (20, 30), 50, True, count=0), scene(random, (20, 30), 200, True)
    assert 1 <= len(copy_paste(empty, above, random).masks) <= 4


@pytest.mark.parametrize("has_map", ["target", "source", "none"])
def test_class_maps_are_pasted_if_both_have_one(has_map: str) -> None:
    random = np.random.default_rng(0)
    below, above = scene(random, (20, 30), 50, False), scene(random, (20, 30), 200, False)
    below = below if has_map == "target" else replace(below, semantic=None)
    above = above if has_map == "source" else replace(above, semantic=None)
    semantic = copy_paste(below, above, random).semantic
    assert (semantic is not None) == (has_map == "target")
