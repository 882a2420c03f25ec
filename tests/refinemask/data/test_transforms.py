"""Resizing and padding equal the official pipeline and never lose an image."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refinemask.config import Preprocessing
from refinemask.data.transforms import pad_batch, preprocess, resize, resize_shape, scale_factors
from tests.support.tolerances import assert_near

COCO = Preprocessing()
SIDES = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("original", "resized"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),
        ((375, 500), (800, 1067)),
        ((800, 1333), (800, 1333)),
        ((200, 8000), (33, 1333)),
        ((8000, 200), (1333, 33)),
        ((1, 1), (800, 800)),
        ((1, 5000), (1, 1333)),
    ],
)
def test_resize_shape(original: tuple[int, int], resized: tuple[int, int]) -> None:
    assert resize_shape(*original, COCO) == resized


def test_cityscapes_keeps_its_native_size() -> None:
    assert resize_shape(1024, 2048, Preprocessing(short_side=1024, long_side=2048)) == (1024, 2048)


@given(height=SIDES, width=SIDES)
def test_resize_shape_fits_and_is_never_empty(height: int, width: int) -> None:
    shape = resize_shape(height, width, COCO)
    assert 1 <= min(shape) <= COCO.short_side
    assert max(shape) <= COCO.long_side


@given(height=SIDES, width=SIDES, canvas=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_image_fits_a_canvas(height: int, width: int, canvas: tuple[int, int]) -> None:
    canvas = canvas[0] * 32, canvas[1] * 32
    shape = resize_shape(height, width, COCO, canvas)
    assert 1 <= shape[0] <= canvas[0]
    assert 1 <= shape[1] <= canvas[1]


def test_resize_is_opencv_bilinear_on_bytes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    expected = cv2.resize(image, (107, 80), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(image, (80, 107)), expected)
    assert resize(image, (48, 64)) is image


def test_resize_order_of_channels_does_not_matter() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    swapped = resize(np.ascontiguousarray(image[..., ::-1]), (80, 107))
    np.testing.assert_array_equal(resize(image, (80, 107)), swapped[..., ::-1])


def test_scale_factors_are_per_axis() -> None:
    factors = scale_factors((427, 640), (800, 1199))
    assert factors.dtype == np.float32
    np.testing.assert_array_equal(factors, np.array([1199 / 640, 800 / 427] * 2, np.float32))
    assert factors[0] != factors[1]


@pytest.mark.parametrize("canvas", [None, (96, 128)])
def test_pad_batch(canvas: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(1, 256, (*shape, 3), dtype=np.uint8) for shape in ((33, 50), (64, 7), (1, 1))]
    batch, sizes = pad_batch(images, canvas)
    assert batch.shape == (3, 3, *(canvas or (64, 64)))
    assert batch.dtype == np.uint8
    assert batch.flags.c_contiguous
    np.testing.assert_array_equal(sizes, [[33, 50], [64, 7], [1, 1]])
    assert sizes.dtype == np.int64
    for padded, image in zip(batch, images, strict=True):
        height, width = image.shape[:2]
        np.testing.assert_array_equal(padded[:, :height, :width], image.transpose(2, 0, 1))
        assert np.count_nonzero(padded) == image.size


def test_pad_batch_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        pad_batch([np.zeros((65, 10, 3), np.uint8)], (64, 64))
    with pytest.raises(ValueError, match="at least one"):
        pad_batch([])


def stacked(images: Sequence[np.ndarray], canvas: tuple[int, int]) -> np.ndarray:
    """The batch by NumPy alone."""
    batch = np.zeros((len(images), 3, *canvas), np.uint8)
    for planes, image in zip(batch, images, strict=True):
        planes[:, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return batch


VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda image: image,
    "rows upside down": lambda image: image[::-1],
    "mirrored": lambda image: image[:, ::-1],
    "channels reversed": lambda image: image[..., ::-1],
    "every second pixel": lambda image: image[::2, ::2],
    "a part": lambda image: image[image.shape[0] // 3 :, image.shape[1] // 3 :],
    "turned": lambda image: image.swapaxes(0, 1),
    "column-major": np.asfortranarray,
    "planar": lambda image: np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0),
    "one pixel everywhere": lambda image: np.broadcast_to(image[:1, :1], image.shape),
    "four channels without the last": lambda image: np.dstack([image, image[..., :1]])[..., :3],
}
SHAPES = (1, 1), (1, 37), (37, 1), (2, 3), (31, 33), (64, 64), (63, 61)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("writeable", [True, False])
def test_pad_batch_takes_arrays_of_any_layout(view: str, writeable: bool) -> None:
    rng = np.random.default_rng(0)
    images = [VIEWS[view](rng.integers(1, 256, (*shape, 3), dtype=np.uint8)) for shape in SHAPES]
    for image in images:
        image.flags.writeable = writeable and image.flags.writeable
    kept = [image.copy() for image in images]
    # The second canvas has nothing of the first, nor one image of the one before.
    for canvas in ((96, 128), (64, 64), (64, 96)):
        for count in (1, 3, len(images)):
            batch, sizes = pad_batch(images[-count:], canvas)
            np.testing.assert_array_equal(batch, stacked(images[-count:], canvas))
            assert sizes.tolist() == [list(image.shape[:2]) for image in images[-count:]]
    for image, before in zip(images, kept, strict=True):
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("canvas", [(32, 32), (64, 96), (32, 160)])
def test_preprocess_is_a_resize_and_a_padding(view: str, canvas: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    images = [VIEWS[view](rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in SHAPES]
    shapes = [resize_shape(image.shape[0], image.shape[1], COCO, canvas) for image in images]
    expected = stacked(
        [resize(np.ascontiguousarray(image), shape) for image, shape in zip(images, shapes, strict=True)], canvas
    )
    prepared = preprocess(images, COCO, canvas)
    np.testing.assert_array_equal(prepared.images, expected)
    np.testing.assert_array_equal(prepared.image_sizes, shapes)


@pytest.mark.parametrize("canvas", [(1, 1), (1, 5), (5, 1), (3, 3), (7, 33), (33, 7)])
def test_canvases_of_odd_sides_are_filled(canvas: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    shapes = (1, 1), canvas, (1, canvas[1]), (canvas[0], 1)
    images = [rng.integers(1, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    np.testing.assert_array_equal(pad_batch(images, canvas)[0], stacked(images, canvas))
    sizes = [resize_shape(image.shape[0], image.shape[1], COCO, canvas) for image in images]
    expected = stacked([resize(image, size) for image, size in zip(images, sizes, strict=True)], canvas)
    np.testing.assert_array_equal(preprocess(images, COCO, canvas).images, expected)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
@pytest.mark.parametrize("canvas", [None, (32, 32)])
def test_an_image_without_a_pixel_is_refused(shape: tuple[int, ...], canvas: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match=rf"an image is uint8 \[{shape[0]}, {shape[1]}, 3\]"):
        pad_batch([np.zeros(shape, np.uint8)], canvas)


def test_a_batch_stays_as_it_is_when_the_next_one_is_made() -> None:
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (50, 60, 3), dtype=np.uint8) for _ in range(2)]
    first, second = (pad_batch([image])[0] for image in images)
    np.testing.assert_array_equal(first, stacked(images[:1], (64, 64)))
    np.testing.assert_array_equal(second, stacked(images[1:], (64, 64)))
    assert not np.shares_memory(first, images[0])


def test_threads_make_batches_side_by_side() -> None:
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (120 + 7 * n, 200 - 9 * n, 3), dtype=np.uint8) for n in range(8)] * 8
    expected = [preprocess([image], COCO, (256, 320)).images for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda image: preprocess([image], COCO, (256, 320)).images, images)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "image", [np.ones((8, 8, 4), np.uint8), np.ones((8, 8, 1), np.uint8), np.ones((8, 8)), np.ones((8, 8, 3))]
)
@pytest.mark.parametrize(
    "prepare", [lambda image: pad_batch([image]), lambda image: preprocess([image], COCO, (64, 64))]
)
def test_only_rgb_of_8_bits_is_stacked(image: Any, prepare: Callable[[Any], object]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[h, w, 3\]"):
        prepare(image)


def test_preprocess_returns_the_way_back() -> None:
    images = [np.zeros((480, 640, 3), np.uint8), np.zeros((50, 20, 3), np.uint8)]
    prepared = preprocess(images, COCO)
    assert prepared.images.shape == (2, 3, 1344, 1088)
    np.testing.assert_array_equal(prepared.image_sizes, [[800, 1067], [1333, 533]])
    whole = np.array([640, 480, 640, 480], np.float32)
    assert_near(prepared.scale_factors[0] * whole, [1067, 800, 1067, 800], "one float32 operation")
    static = preprocess(images[:1], COCO, canvas=(256, 256))
    assert static.images.shape == (1, 3, 256, 256)
    np.testing.assert_array_equal(static.image_sizes, [[192, 256]])


def test_deployment_modules_do_not_import_torch() -> None:
    modules = (
        "refinemask.structures, refinemask.masks, refinemask.files, refinemask.data.transforms, refinemask.data.images"
    )
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
