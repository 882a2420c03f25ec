"""Images that are in memory already, as arrays and PIL images, become RGB. Imports no PyTorch."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinemask.config import Window
from refinemask.contract import InputError
from refinemask.foreign import foreign_errors
from refinemask.window import map_window, require_window, to_rgb


def rgb_of_array(name: str, pixels: NDArray[np.generic], window: Window | None) -> NDArray[np.uint8]:
    """An array as [h, w, 3] uint8, by the window if there is one.

    Args:
        name: how errors name the image.
        pixels: [h, w, 3] uint8 RGB; with a window also of other real numbers, [h, w, 3], [h, w, 1] or [h, w].
        window: how values of other types become those of 8 bits.

    Raises:
        InputError: it is no such array.
    """
    shape, is_rgb = list(pixels.shape), pixels.ndim == 3 and pixels.shape[2] == 3
    if window is None:
        if pixels.dtype != np.uint8 or not is_rgb or pixels.size == 0:
            remedy = "" if pixels.dtype == np.uint8 else "; a model with a window maps other numbers"
            raise InputError(f"{name}: is {pixels.dtype} {shape}, expected uint8 [h, w, 3] RGB{remedy}")
        return pixels.astype(np.uint8, copy=False)
    is_grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)
    if pixels.dtype.kind not in "uif" or not (is_rgb or is_grey) or pixels.size == 0:
        raise InputError(f"{name}: is {pixels.dtype} {shape}, expected real numbers, [h, w, 3] RGB or [h, w] grey")
    if pixels.dtype != np.uint8:
        return map_window(pixels, window)
    return to_rgb(pixels.astype(np.uint8, copy=False))


def rgb_of_pil(name: str, image: Image.Image, window: Window | None) -> NDArray[np.uint8]:
    """A PIL image as :func:`refinemask.data.images.read_image` gives its file, once it is upright.

    Grey, palette and CMYK become RGB, an alpha channel is dropped, and the window maps what has more than 8 bits.

    Raises:
        UserError: it is empty, of a mode that Pillow does not convert, or has more than 8 bits without a window.
    """
    if image.width == 0 or image.height == 0:
        raise InputError(f"{name}: is a PIL image of {image.width}x{image.height} pixels, expected at least one")
    if not image.mode.startswith(("I", "F")):
        with foreign_errors(name, "convert it to RGB"):
            return np.array(image.convert("RGB"))
    deep = np.asarray(image)
    return map_window(deep, require_window(name, deep, window))
