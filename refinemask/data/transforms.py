"""From decoded images to the network's input, as the official test pipeline does it. Imports no PyTorch.

The resize is OpenCV's bilinear on uint8, on which the official accuracy depends. Normalisation happens inside the
network, so that four times fewer bytes are handled and moved here.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from refinemask.config import STRIDE, Preprocessing


class _Scratch(threading.local):
    """Memory that each thread uses again: the kernel makes new memory at the speed of a copy or less."""

    memory: NDArray[np.uint8] = np.empty(0, np.uint8)


_scratch = _Scratch()


class NetworkInput(NamedTuple):
    """A batch as a detector or an engine takes it, and the way back to the original images."""

    images: NDArray[np.uint8]
    """[B, 3, H, W] RGB, padded at the bottom and right."""
    image_sizes: NDArray[np.int64]
    """[B, 2] valid (height, width)."""
    scale_factors: NDArray[np.float32]
    """[B, 4] (x, y, x, y): boxes in the network's input divided by these are boxes in the original image."""


def resize_shape(
    height: int, width: int, preprocessing: Preprocessing, canvas: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The (height, width) to which an image is resized, its ratio kept.

    The image fits ``long_side`` × ``short_side`` in either orientation and, if given, a fixed ``canvas`` (height,
    width). Rounding is that of mmcv (``int(x + 0.5)``), but a side is never less than one pixel.
    """
    scale = min(preprocessing.long_side / max(height, width), preprocessing.short_side / min(height, width))
    if canvas is not None:
        scale = min(scale, canvas[0] / height, canvas[1] / width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a [h, w, 3] uint8 image to ``shape`` (height, width) with OpenCV's bilinear interpolation."""
    if image.shape[:2] == tuple(shape):
        return image
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def scale_factors(original: tuple[int, int], resized: tuple[int, int]) -> NDArray[np.float32]:
    """[4] float32 factors (x, y, x, y) from the original (height, width) to the resized one.

    The two axes differ slightly because each side is rounded.
    """
    y, x = resized[0] / original[0], resized[1] / original[1]
    return np.array([x, y, x, y], dtype=np.float32)


def pad_batch(
    images: Sequence[NDArray[np.uint8]], canvas: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Stack [h, w, 3] uint8 images into one batch, zero-padded at the bottom and right.

    Args:
        images: RGB images of any sizes.
        canvas: (height, width) of the batch; the smallest multiple of 32 that holds every image if not given.

    Returns:
        The images [B, 3, H, W] uint8 and their valid sizes [B, 2] int64 (height, width).

    Raises:
        ValueError: there is no image, or one is larger than the canvas, has no pixel or is not uint8 [h, w, 3].
    """
    return _stack(images, [image.shape[:2] for image in images], canvas)


def preprocess(
    images: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing, canvas: tuple[int, int] | None = None
) -> NetworkInput:
    """Resize and pad decoded [h, w, 3] uint8 RGB images of any sizes; ``canvas`` is the size of a static engine.

    Raises:
        ValueError: there is no image, or one is not uint8 [h, w, 3].
    """
    shapes = [resize_shape(image.shape[0], image.shape[1], preprocessing, canvas) for image in images]
    batch, sizes = _stack(images, shapes, canvas)
    factors = [scale_factors(image.shape[:2], shape) for image, shape in zip(images, shapes, strict=True)]
    return NetworkInput(batch, sizes, np.stack(factors))


def _stack(
    images: Sequence[NDArray[np.uint8]], shapes: Sequence[tuple[int, int]], canvas: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """:func:`pad_batch` of the images resized to ``shapes`` (height, width)."""
    if not images:
        raise ValueError("a batch needs at least one image")
    sizes = np.array(shapes, dtype=np.int64)
    largest = sizes.max(axis=0)
    height, width = canvas or (int(-(-side // STRIDE) * STRIDE) for side in largest)
    if largest[0] > height or largest[1] > width:
        raise ValueError(f"an image of {largest[0]}x{largest[1]} does not fit the canvas {height}x{width}")
    batch = np.empty((len(images), 3, height, width), dtype=np.uint8)
    # OpenCV parts the channels of whole canvases several times faster than NumPy, or than it does those of views.
    padded = _canvas(height, width)
    for planes, image, shape in zip(batch, images, shapes, strict=True):
        _place(image, shape, padded)
        cv2.split(padded, list(planes))
    return batch, sizes


def _canvas(height: int, width: int) -> NDArray[np.uint8]:
    """[height, width, 3] of anything, until this thread asks again."""
    size = height * width * 3
    if _scratch.memory.size < size:
        _scratch.memory = np.empty(size, np.uint8)
    return _scratch.memory[:size].reshape(height, width, 3)


def _place(image: NDArray[np.uint8], shape: tuple[int, int], padded: NDArray[np.uint8]) -> None:
    """Resize an image into the upper left corner of ``padded`` [H, W, 3], and make the rest zero."""
    # OpenCV would write an image of another kind to memory of its own.
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or not image.size:
        raise ValueError(f"an image is {image.dtype} {list(image.shape)}; expected uint8 [h, w, 3]")
    height, width = shape
    corner = padded[:height, :width]
    if image.shape == corner.shape:
        corner[...] = image
    else:
        cv2.resize(image, (width, height), dst=corner, interpolation=cv2.INTER_LINEAR)
    padded[height:], padded[:height, width:] = 0, 0
