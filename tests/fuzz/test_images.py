"""Damaged pictures are read as Pillow reads them, or refused; a part of a file is never taken for the whole."""

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from refinemask.config import Window
from refinemask.data.image_kind import read_kind
from refinemask.data.images import read_image
from refinemask.window import map_window
from tests.fuzz.conftest import Seeds
from tests.support.image_files import png, tiff
from tests.support.mutations import mutated_bytes, refusal

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 90}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "webp": ("WEBP", {}),
    "tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "bmp": ("BMP", {}),
}
"""Format and options by which Pillow writes each kind."""
ROUNDING = 1
"""Largest difference of two decoders' colours."""


def encode(kind: str) -> bytes:
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    picture = cv2.resize(colours, (64, 48), interpolation=cv2.INTER_CUBIC)
    buffer, (name, options) = BytesIO(), KINDS[kind]
    Image.fromarray(picture).save(buffer, name, **options)
    return buffer.getvalue()


WINDOW = Window(low=1, high=99, percentile=True)


def deep(dtype: str, *channels: int) -> np.ndarray:
    """A smooth picture of the values 0 to 4095."""
    colours = np.random.default_rng(0).integers(0, 4096, (5, 7, *channels)).astype(np.float32)
    return cv2.resize(colours, (64, 48), interpolation=cv2.INTER_LINEAR).astype(dtype)


def opencv_tiff(pixels: np.ndarray, compression: int) -> bytes:
    return cv2.imencode(".tiff", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, compression])[1].tobytes()


DEEP: dict[str, bytes] = {
    "16-bit png": png(deep("uint16")),
    "16-bit rgb png": png(deep("uint16", 3)),
    "16-bit tiff": tiff(deep("uint16")),
    "16-bit big-endian rgb tiff": tiff(deep("uint16", 3), endian=">"),
    "16-bit lzw tiff": opencv_tiff(deep("uint16"), 5),
    "float tiff": tiff(deep("float32")),
    "float deflate tiff": opencv_tiff(deep("float32"), 8),
    "float64 lzw tiff": opencv_tiff(deep("float64"), 5),
    "int32 tiff": tiff(deep("int32")),
}
"""Files of more than 8 bits."""
ONE_CHANNEL = "I;16", "I;16B", "I", "F"
"""Modes in which Pillow keeps all bits."""


def pillow(path: Path) -> np.ndarray | None:
    """The pixels by Pillow, or None if it refuses the file."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(int)
    except Exception:
        return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures(seeds: Seeds, tmp_path: Path, kind: str) -> None:
    path, data = tmp_path / "a.img", encode(kind)
    refused = 0
    for random in seeds(25):
        path.write_bytes(mutated_bytes(data, random))
        if refusal(lambda: read_image(path)) is not None:
            refused += 1
            continue
        image, expected = read_image(path), pillow(path)
        # The one kind that Pillow does not decode a second time, because it would cost every reading too much.
        assert expected is not None or "jpeg" in kind
        if expected is not None:
            assert image.shape == expected.shape
            assert np.abs(image - expected).max() <= ROUNDING
    assert refused > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_cut_pictures(seeds: Seeds, tmp_path: Path, kind: str) -> None:
    path, data = tmp_path / "a.img", encode(kind)
    path.write_bytes(data)
    whole = read_image(path)
    for random in seeds(15):
        path.write_bytes(data[: random.integers(len(data))])
        if refusal(lambda: read_image(path)) is None:
            np.testing.assert_array_equal(read_image(path), whole)


def pillow_values(path: Path) -> np.ndarray | None:
    """The values by Pillow; None if it refuses the file, or has no mode for the values: of colours, 0 as white."""
    try:
        with Image.open(path) as image:
            image.load()
            values, kind = np.asarray(image), read_kind(path)
            if image.mode not in ONE_CHANNEL or kind.white_is_zero:
                return None
            # Pillow has the bits of an unsigned number in a signed one.
            return values.view(np.uint32) if image.mode == "I" and kind.numbers == "uint32" else values
    except Exception:
        return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", DEEP)
def test_damaged_deep_pictures(seeds: Seeds, tmp_path: Path, kind: str) -> None:
    path, data = tmp_path / "a.img", DEEP[kind]
    refused = 0
    for random in seeds(25):
        path.write_bytes(mutated_bytes(data, random))
        refusal(lambda: read_kind(path))
        if refusal(lambda: read_image(path, WINDOW)) is not None:
            refused += 1
            continue
        image, values = read_image(path, WINDOW), pillow_values(path)
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        if values is not None:
            np.testing.assert_array_equal(image, map_window(values, WINDOW))
    assert refused > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", DEEP)
def test_cut_deep_pictures(seeds: Seeds, tmp_path: Path, kind: str) -> None:
    path, data = tmp_path / "a.img", DEEP[kind]
    path.write_bytes(data)
    whole = read_image(path, WINDOW)
    for random in seeds(15):
        path.write_bytes(data[: random.integers(len(data))])
        if refusal(lambda: read_image(path, WINDOW)) is None:
            np.testing.assert_array_equal(read_image(path, WINDOW), whole)
