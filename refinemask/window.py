"""How images of more than 8 bits per channel become images of 8. Imports no PyTorch."""

import math
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refinemask.config import Window
from refinemask.files import UserError

REMEDY = "--window LOW HIGH (the values that become 0 and 255), or --window percentile 0.1 99.9"
"""The options that make an image of more than 8 bits usable, for errors."""
WHITE = 255
LARGEST = 1e30
"""Magnitude of the largest value that a window may name, as in :class:`refinemask.config.Window`."""
BLOCK = 1 << 18
"""Number of values that are mapped at once, because copies of them in 64 bits are larger than an image."""


def parse_window(words: Sequence[str]) -> Window:
    """The window that the words of ``--window`` state: ``LOW HIGH`` or ``percentile LOW HIGH``.

    Raises:
        UserError: the words state no window.
    """
    percentile = words[:1] == ["percentile"]
    limits = [_number(word) for word in (words[1:] if percentile else words)]
    stated = f"--window {' '.join(words)}"
    if len(limits) != 2 or not all(abs(limit) <= LARGEST for limit in limits):
        behind = "; what is no option goes before it" if len(limits) > 2 else ""
        raise UserError(f"{stated}: expected {REMEDY}{behind}")
    try:
        return Window(low=limits[0], high=limits[1], percentile=percentile)
    except ValueError as error:
        raise UserError(f"{stated}: {error}") from error


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def spelled(window: Window) -> str:
    """A window as ``--window`` takes it."""
    return f"{'percentile ' if window.percentile else ''}{window.low:.17g} {window.high:.17g}"


def map_window(pixels: NDArray[np.generic], window: Window) -> NDArray[np.uint8]:
    """Map an image's values to 8 bits: ``low`` becomes 0 and ``high`` 255, the values between in proportion, rounded.

    Values beyond the window are cut off, infinite ones too. NaN becomes 0. Percentiles are of all finite values of the
    image, its channels together, between two values in proportion. Where both limits are the same value, the values
    above it become 255 and all others 0.

    Args:
        pixels: [h, w], [h, w, 1] or [h, w, 3] of real numbers.
        window: the window.

    Returns:
        [h, w, 3] RGB; one channel becomes three.
    """
    values = pixels.reshape(-1)
    low, high = _percentiles(values, window) if window.percentile else (window.low, window.high)
    # What has 16 bits is looked up: much faster, and the same.
    table = _mapped(np.arange(1 << 16, dtype=np.uint16).view(values.dtype), low, high) if values.itemsize == 2 else None
    mapped = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        mapped[start : start + BLOCK] = _mapped(block, low, high) if table is None else table[block.view(np.uint16)]
    return to_rgb(mapped.reshape(pixels.shape))


def require_window(name: str | os.PathLike[str], pixels: NDArray[np.generic], window: Window | None) -> Window:
    """The window, or a UserError that describes the image ``name``, which cannot do without one."""
    if window is None:
        raise UserError(
            f"{name}: has {described(pixels)}, expected 8 bits per channel; use {REMEDY}; a command without "
            "that option takes the window of its model (python -m export.to_onnx --window … writes one into the file)"
        )
    return window


def to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture [h, w], [h, w, 1] or [h, w, 3] as [h, w, 3]: one channel becomes three."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def described(pixels: NDArray[np.generic]) -> str:
    """The type and range of an image's values, such as ``uint16 values 3 to 4095 (12 bits)``."""
    finite = _finite(pixels)
    if not finite.size:
        return f"{pixels.dtype} values, none of them finite"
    low, high = finite.min().item(), finite.max().item()
    if pixels.dtype.kind == "f":
        return f"{pixels.dtype} values {low:.6g} to {high:.6g}"
    bits = f" ({high.bit_length()} bits)" if low >= 0 else ""
    return f"{pixels.dtype} values {low} to {high}{bits}"


def _mapped(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    # Infinities and the division by a width of zero come out right: at the ends, or as NaN for the value ``low``.
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) - low) * WHITE / (high - low)
    return np.rint(np.nan_to_num(scaled, nan=0).clip(0, WHITE)).astype(np.uint8)


def _finite(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _percentiles(values: NDArray[np.generic], window: Window) -> tuple[float, float]:
    """The values at the window's percentiles.

    As ``np.percentile`` has them, whose difference of two neighbours overflows in small integers (NumPy 2.4).
    """
    values = _finite(values)
    if not values.size:
        return 0.0, 1.0
    positions = np.array([window.low, window.high]) / 100 * (values.size - 1)
    below = np.floor(positions).astype(np.int64)
    above = np.ceil(positions).astype(np.int64)
    ordered = np.partition(values, sorted({*below.tolist(), *above.tolist()}))
    first, second = ordered[below].astype(np.float64), ordered[above].astype(np.float64)
    low, high = (first + (second - first) * (positions - below)).tolist()
    return low, high
