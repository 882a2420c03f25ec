import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from refinemask.config import Window
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.sources.given import GivenImages

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
WINDOW = Window(low=0, high=4095)


def test_buffers_can_be_used_again() -> None:
    array, image = PIXELS.copy(), Image.fromarray(PIXELS)
    items = list(GivenImages([array, image]))
    array[:] = 0
    image.paste(0, (0, 0, 20, 12))
    for item in items:
        np.testing.assert_array_equal(item.read(None), PIXELS)


def test_a_generator_is_taken_one_by_one() -> None:
    taken = []

    def images() -> Iterator[np.ndarray]:
        for number in range(3):
            taken.append(number)
            yield PIXELS

    source = GivenImages(images())
    assert source.total is None
    items = iter(source)
    next(items)
    assert taken == [0]
    source.close()
    assert list(items) == []


def test_names_places_and_total(tmp_path: Path) -> None:
    source = GivenImages([tmp_path / "a.png", str(tmp_path / "x" / "a.jpg"), PIXELS])
    items = list(source)
    assert source.total == 3
    assert [item.name for item in items] == [str(tmp_path / "a.png"), str(tmp_path / "x" / "a.jpg"), "image 2"]
    assert [str(item.place) for item in items] == ["a", "a-2", "images/000002"]
    assert [item.path for item in items] == [tmp_path / "a.png", tmp_path / "x" / "a.jpg", None]


@pytest.mark.parametrize("images", ["a.png", Path("a.png"), PIXELS, Image.fromarray(PIXELS)])
def test_one_image_is_no_list(images: Any) -> None:
    with pytest.raises(UserError, match="expected a list of images, found one"):
        GivenImages(images)


def palette() -> Image.Image:
    return Image.fromarray(PIXELS).quantize(16)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 16)


@pytest.mark.parametrize(
    ("image", "format"),
    [
        (Image.fromarray(PIXELS), "PNG"),
        (Image.fromarray(PIXELS).convert("L"), "PNG"),
        (Image.fromarray(PIXELS).convert("1"), "PNG"),
        (Image.fromarray(PIXELS).convert("LA"), "PNG"),
        (palette(), "PNG"),
        (Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])), "PNG"),
        (sixteen_bits(), "PNG"),
        (Image.fromarray(PIXELS[..., 0].astype(np.int32) * 16), "TIFF"),
        (Image.fromarray(PIXELS[..., 0].astype(np.float32)), "TIFF"),
    ],
    ids=lambda value: getattr(value, "mode", value),
)
def test_a_pil_image_becomes_what_its_file_does(tmp_path: Path, image: Image.Image, format: str) -> None:
    path = tmp_path / "image"
    image.save(path, format)
    with Image.open(path) as opened:
        items = list(GivenImages([image, opened]))
    for item in items:
        np.testing.assert_array_equal(item.read(WINDOW), read_image(path, WINDOW))


def test_a_pil_image_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        [item] = GivenImages([opened])
    np.testing.assert_array_equal(item.read(None), read_image(tmp_path / "a.png"))
    assert item.read(None).shape == (20, 12, 3)


def test_what_is_no_image_is_named_when_it_is_read() -> None:
    jpeg = cv2.imencode(".jpg", np.repeat(np.repeat(PIXELS, 8, 0), 8, 1))[1].tobytes()
    items = list(
        GivenImages([None, PIXELS[..., 0], Image.open(BytesIO(jpeg[: len(jpeg) // 2])), sixteen_bits(), PIXELS])
    )
    messages = [
        "image 0: is a NoneType; expected a path, or an array uint8 [h, w, 3] RGB, or a PIL image",
        "image 1: is uint8 [12, 20], expected uint8 [h, w, 3] RGB",
        "image 2: cannot be decoded: image file is truncated",
        "image 3: has uint16 values 0 to 40",
    ]
    for item, message in zip(items, messages, strict=False):
        with pytest.raises(UserError, match=f"^{re.escape(message)}"):
            item.read(None)
    assert items[4].read(None).shape == (12, 20, 3)


MODES = (
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "LA",
    "PA",
    "RGBX",
    "RGBa",
    "I;16",
    "I;16B",
)


@pytest.mark.parametrize("mode", MODES)
def test_an_image_of_any_mode_that_pillow_converts_is_read(mode: str) -> None:
    [item] = GivenImages([Image.new(mode, (5, 4))])
    assert item.read(WINDOW).shape == (4, 5, 3)


def test_an_image_that_pillow_does_not_convert_is_named() -> None:
    [item] = GivenImages([Image.new("La", (5, 4))])
    with pytest.raises(UserError, match=r"^image 0: .*; convert it to RGB$"):
        item.read(None)
