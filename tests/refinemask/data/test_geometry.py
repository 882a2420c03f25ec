"""Objects in an image that is resized, mirrored, turned or cropped: against the same done to their pixels."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from refinemask.data.example import Example
from refinemask.data.geometry import (
    Bitmap,
    Crop,
    Polygons,
    bitmap_box,
    crop_object,
    flip_boxes,
    flip_mask,
    nearest_indices,
    rasterise,
    resize_boxes,
    resize_labels,
    resize_mask,
)
from refinemask.masks import segmentation_rle

HEIGHT, WIDTH = 60, 80
seeds = st.integers(0, 1 << 32)


def random_polygon(random: np.random.Generator, corners: int = 9) -> np.ndarray:
    """A star around a point, with whole coordinates: rasterising one is exact after a shift, a mirror or a turn."""
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    radius = random.uniform(8, 40, corners)
    centre = random.uniform((5, 5), (WIDTH - 5, HEIGHT - 5))
    points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points.round().ravel()


def star(random: np.random.Generator) -> Polygons:
    """A polygon of at least one pixel, as objects have."""
    while True:
        polygons = [random_polygon(random)]
        if rasterise(polygons, HEIGHT, WIDTH).any():
            return polygons


def example(random: np.random.Generator, polygons: bool) -> Example:
    """Three stars on noise; the labels are their order."""
    shapes = [star(random) for _ in range(3)]
    masks: list[Polygons | Bitmap] = [mask if polygons else rasterise(mask, HEIGHT, WIDTH) for mask in shapes]
    boxes = np.array([bitmap_box(rasterise(mask, HEIGHT, WIDTH)) for mask in shapes], np.float32)
    pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Example(
        pixels=pixels, boxes=boxes, labels=np.arange(3), masks=masks, semantic=pixels[..., 0].astype(np.uint8)
    )


def dense(mask: Polygons | Bitmap, height: int, width: int) -> Bitmap:
    return mask if isinstance(mask, np.ndarray) else rasterise(mask, height, width)


def outline(bitmap: Bitmap) -> int:
    """Pixels beside an edge of a bitmap: rasterisers may take either side of those."""
    return int(sum((np.diff(np.pad(bitmap, 1).astype(int), axis=axis) != 0).sum() for axis in (0, 1)))


@given(seed=seeds, turns=st.integers(0, 7), axis=st.integers(0, 1), polygons=st.booleans())
@settings(max_examples=60, deadline=None)
def test_mirrors_and_turns_are_those_of_the_pixels(seed: int, turns: int, axis: int, polygons: bool) -> None:
    before = example(np.random.default_rng(seed), polygons)
    after = before.flip(axis).rotate(turns)

    def move(pixels: np.ndarray) -> np.ndarray:
        return np.rot90(np.flip(pixels, axis), turns)

    assert np.array_equal(after.pixels, move(before.pixels))
    assert after.semantic is not None
    assert np.array_equal(after.semantic, move(before.pixels[..., 0]))
    assert after.labels.tolist() == [0, 1, 2]
    for old, new, box in zip(before.masks, after.masks, after.boxes, strict=True):
        expected, found = move(dense(old, HEIGHT, WIDTH)), dense(new, *after.shape)
        assert isinstance(new, list) == polygons
        if polygons:
            # The COCO rasteriser takes the left and upper of two sides.
            assert (found != expected).sum() <= outline(expected)
        else:
            assert np.array_equal(found, expected)
        assert np.array_equal(bitmap_box(expected), box)


@given(seed=seeds, polygons=st.booleans())
@settings(max_examples=120, deadline=None)
def test_a_crop_is_that_of_the_pixels(seed: int, polygons: bool) -> None:
    random = np.random.default_rng(seed)
    before = example(random, polygons)
    height, width = (int(random.integers(4, side + 1)) for side in (HEIGHT, WIDTH))
    top, left = int(random.integers(HEIGHT - height + 1)), int(random.integers(WIDTH - width + 1))
    crop = Crop(top, left, height, width)
    after = before.crop(crop)
    assert np.array_equal(after.pixels, before.pixels[top : top + height, left : left + width])
    kept = dict(zip(after.labels.tolist(), zip(after.masks, after.boxes, strict=True), strict=True))
    for label, mask in enumerate(before.masks):
        expected = crop.of(dense(mask, HEIGHT, WIDTH))
        if label not in kept:
            x1, y1, x2, y2 = bitmap_box(expected)
            # A sliver of a polygon is rounded to pixels that it hardly has.
            assert min(x2 - x1, y2 - y1) < (2 if polygons else 1)
            continue
        new, box = kept[label]
        found = dense(new, height, width)
        assert isinstance(new, list) == polygons
        assert (box >= 0).all()
        assert (box <= [width, height, width, height]).all()
        # A corner that is cut off moves by a fifth of a pixel, and the pixels beside the edge with it.
        assert (found != expected).sum() <= (0.25 * outline(expected) + 4 if polygons else 0)
        # The box contains the mask, and is no larger.
        assert np.abs(bitmap_box(found) - box).max() <= (1 if polygons else 0)


def test_an_object_inside_the_window_keeps_its_box_and_polygon() -> None:
    polygon, box = np.array([10.25, 20, 30.5, 20, 30, 50]), np.array([10.25, 20, 30.5, 50], np.float32)
    found = crop_object([polygon], box, Crop(15, 10, 40, 30))
    assert found is not None
    assert found[0][0].tolist() == [0.25, 5, 20.5, 5, 20, 35]
    assert found[1].tolist() == [0.25, 5, 20.5, 35]


def test_edges_that_enclose_nothing_do_not_widen_the_box() -> None:
    # A frame around the crop, of which one arm reaches in: the cut leaves edges along the crop's border.
    frame = [-20.0, -20, 60, -20, 60, 60, -20, 60, -20, 20, 10, 20, 10, 30, -10, 30, -10, 50, 50, 50, 50, -10, -20, -10]
    found = crop_object([np.array(frame)], np.array([-20, -20, 60, 60], np.float32), Crop(0, 0, 40, 40))
    assert found is not None
    assert np.abs(found[1] - [0, 20, 10, 30]).max() <= 1


@pytest.mark.parametrize("shape", [[-30.0, 5, -5, 5, -5, 30], [10, 10, 10.3, 10, 10.3, 30], [41, 0, 60, 0, 60, 40]])
@pytest.mark.parametrize("polygons", [True, False])
def test_an_object_without_a_visible_pixel_is_dropped(shape: list[float], polygons: bool) -> None:
    points = np.array(shape)
    box = np.array([*points.reshape(-1, 2).min(axis=0), *points.reshape(-1, 2).max(axis=0)], np.float32)
    mask: Polygons | Bitmap = [points] if polygons else np.zeros((40, 40), np.uint8)
    assert crop_object(mask, box, Crop(0, 0, 40, 40)) is None


@given(old=st.integers(1, 3000), new=st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_each_pixel_takes_the_one_that_has_its_centre(old: int, new: int) -> None:
    found = nearest_indices(old, new)
    for index in {0, new // 3, new // 2, new - 1}:
        assert found[index] == int(Fraction(2 * index + 1, 2 * new) * old)
    assert 0 <= found[0] <= found[-1] < old


def test_pillow_resizes_maps_alike_where_no_centre_lies_between_two_pixels() -> None:
    random = np.random.default_rng(0)
    for old, new in [((60, 80), (120, 160)), ((97, 101), (53, 200)), ((333, 500), (800, 1201)), ((7, 9), (7, 3))]:
        labels = random.integers(0, 256, old, dtype=np.uint8)
        expected = Image.fromarray(labels).resize((new[1], new[0]), Image.Resampling.NEAREST)
        assert np.array_equal(resize_labels(labels, new), np.asarray(expected))


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_a_resized_bitmap_is_the_resized_map_of_all_pixels(seed: int) -> None:
    random = np.random.default_rng(seed)
    new = (int(random.integers(1, 150)), int(random.integers(1, 150)))
    polygons = [random_polygon(random).tolist()]
    expected = resize_labels(rasterise([np.array(polygons[0])], HEIGHT, WIDTH), new)
    for segmentation in (polygons, dict(segmentation_rle(polygons, HEIGHT, WIDTH))):
        found = resize_mask(segmentation, (HEIGHT, WIDTH), new, keep_polygons=False)
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, expected)


def test_boxes_are_clipped_to_the_image() -> None:
    assert resize_boxes([(-5, 10, 100, 100)], (60, 80), (60, 80)).tolist() == [[0, 10, 80, 60]]
    assert resize_boxes([], (60, 80), (60, 80)).shape == (0, 4)


def test_run_lengths_become_bitmaps() -> None:
    runs = {"size": [2, 2], "counts": [2, 2]}
    bitmap = resize_mask(runs, (2, 2), (4, 4))
    assert isinstance(bitmap, np.ndarray)
    assert bitmap.tolist() == [[0, 0, 1, 1]] * 4


def test_flipping_twice_changes_nothing() -> None:
    boxes = np.array([[1, 2, 30, 40]], np.float32)
    polygons = [np.array([1.0, 2, 30, 2, 30, 40])]
    for axis in (0, 1):
        assert np.array_equal(flip_boxes(flip_boxes(boxes, (60, 80), axis), (60, 80), axis), boxes)
        assert np.array_equal(flip_mask(flip_mask(polygons, (60, 80), axis), (60, 80), axis)[0], polygons[0])
