"""Label maps are read value by value, and what is none is refused."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from refinemask.data.label_map import read_label_map, value_masks
from refinemask.files import UserError


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 33)])
def test_run_lengths_equal_those_of_pycocotools(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).choice(np.array([0, 7, 26000, 33012], np.uint16), shape)
    masks = dict(value_masks(values))
    assert list(masks) == np.unique(values).tolist()
    for value, mask in masks.items():
        assert mask == coco_mask.encode(np.asfortranarray(values == value).view(np.uint8))


def picture(kind: str) -> tuple[Image.Image, np.ndarray]:
    """A picture of that kind, and the values that it stands for."""
    values = np.arange(12).reshape(3, 4)
    if kind == "16 bits":
        return Image.fromarray((values * 5000).astype(np.uint16)), values * 5000
    if kind == "1 bit":
        return Image.fromarray(values % 2 == 1), values % 2
    if kind == "palette":
        image = Image.fromarray(values.astype(np.uint8), "P")
        image.putpalette(list(range(255, -1, -1)) * 3)
        return image, values
    if kind in ("RGB", "RGBA"):
        colours = np.stack([values * 9, values * 5, 255 - values, values * 3], axis=2).astype(np.uint8)
        codes = (values * 9 << 16) + (values * 5 << 8) + 255 - values
        return Image.fromarray(colours[..., : len(kind)]), codes
    return Image.fromarray(values.astype(np.uint8)), values


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("kind", ["8 bits", "16 bits", "1 bit", "palette", "RGB", "RGBA"])
def test_the_values_are_those_of_the_file(tmp_path: Path, kind: str, suffix: str) -> None:
    image, expected = picture(kind)
    image.save(tmp_path / f"a.{suffix}")
    values = read_label_map(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(values, expected)
    assert values.dtype == (np.int32 if "RGB" in kind else np.uint16 if kind == "16 bits" else np.uint8)


def photograph(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(path)


def colours_of_16_bits(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((3, 4, 3), np.uint16))


def floats(path: Path) -> None:
    Image.fromarray(np.zeros((3, 4), np.float32)).save(path.with_suffix(".tif"))
    path.with_suffix(".tif").rename(path)


def pages(path: Path) -> None:
    page = Image.new("L", (3, 4))
    page.save(path, "TIFF", save_all=True, append_images=[page])


def below_zero(path: Path) -> None:
    Image.fromarray(np.full((3, 4), -1, np.int32)).save(path, "TIFF")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (photograph, r"has \d+ colours like a photograph"),
        (colours_of_16_bits, "has colours of 16 bits"),
        (floats, "is of mode F, expected"),
        (pages, "holds 2 pictures, expected one"),
        (below_zero, "has the value -1"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"text"), "cannot be read"),
        (lambda path: path.mkdir(), "is a directory"),
    ],
)
def test_what_is_no_label_map_is_named(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    write(tmp_path / "a.png")
    with pytest.raises(UserError, match=rf"a\.png: {message}"):
        read_label_map(tmp_path / "a.png")
