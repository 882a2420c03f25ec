"""Damaged pictures are read as Pillow reads them, or refused; a part of a file is never taken for the whole."""

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from refinemask.data.images import read_image
from tests.fuzz.conftest import Seeds
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
