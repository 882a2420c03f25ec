"""A file's header tells bits, channels, size and orientation, as reading finds them; damage is one line."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refinemask.config import Window
from refinemask.data.image_kind import ImageKind, read_kind
from refinemask.data.images import read_image
from refinemask.files import UserError
from tests.refinemask.test_window import values_of
from tests.support.image_files import chunk, png, tiff

GREY = values_of("uint16", (24, 31))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


RGB = Image.fromarray(values_of("uint8", (24, 31, 3)))
KINDS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "16-bit png": (png(GREY), {"format": "PNG", "channels": 1, "bits": 16}),
    "16-bit png with alpha": (png(values_of("uint16", (24, 31, 4))), {"format": "PNG", "channels": 4, "bits": 16}),
    "16-bit grey png with alpha": (png(values_of("uint16", (24, 31, 2))), {"format": "PNG", "channels": 2, "bits": 16}),
    "palette png": (saved(RGB.quantize(16), "PNG", bits=4), {"format": "PNG", "channels": 1, "bits": 4}),
    "turned png": (saved(RGB, "PNG", exif=turned(6)), {"format": "PNG", "channels": 3, "orientation": 6}),
    "jpeg": (saved(RGB, "JPEG"), {"format": "JPEG", "channels": 3}),
    "turned jpeg": (saved(RGB, "JPEG", exif=turned(8)), {"format": "JPEG", "channels": 3, "orientation": 8}),
    "jpeg turned by nothing that there is": (saved(RGB, "JPEG", exif=turned(9)), {"format": "JPEG", "channels": 3}),
    "cmyk jpeg": (saved(RGB.convert("CMYK"), "JPEG"), {"format": "JPEG", "channels": 4}),
    "16-bit tiff": (tiff(GREY), {"format": "TIFF", "channels": 1, "bits": 16}),
    "16-bit rgb tiff": (
        tiff(values_of("uint16", (24, 31, 3)), endian=">"),
        {"format": "TIFF", "channels": 3, "bits": 16},
    ),
    "signed": (tiff(values_of("int16", (24, 31))), {"format": "TIFF", "channels": 1, "bits": 16, "number": "int"}),
    "float": (tiff(values_of("float64", (24, 31))), {"format": "TIFF", "channels": 1, "bits": 64, "number": "float"}),
    "turned tiff": (tiff(GREY, _274=5), {"format": "TIFF", "channels": 1, "bits": 16, "orientation": 5}),
    "white is zero": (
        tiff(GREY, photometric=0),
        {"format": "TIFF", "channels": 1, "bits": 16, "white_is_zero": True},
    ),
    "8-bit tiff with alpha": (
        tiff(values_of("uint8", (24, 31, 4))),
        {"format": "TIFF", "channels": 4, "straight_alpha": True},
    ),
    "1-bit tiff": (saved(RGB.convert("1"), "TIFF"), {"format": "TIFF", "channels": 1, "bits": 1}),
    "pages": (saved(RGB, "TIFF", save_all=True, append_images=[RGB, RGB]), {"format": "TIFF", "channels": 3}),
    "animated webp": (
        saved(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(90, expand=False), RGB.rotate(180)]),
        {"format": "WEBP", "channels": 3, "frames": 3},
    ),
    "gif": (
        saved(RGB.quantize(8), "GIF", save_all=True, append_images=[RGB.rotate(180).quantize(8)]),
        {"format": "GIF", "channels": 1},
    ),
    "bmp": (saved(RGB, "BMP"), {"format": "BMP", "channels": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_header_is_read(tmp_path: Path, name: str) -> None:
    data, facts = KINDS[name]
    (tmp_path / "a").write_bytes(data)
    kind = read_kind(tmp_path / "a")
    assert kind == ImageKind(height=24, width=31, **facts)
    assert kind.is_deep == (facts.get("bits", 8) > 8)
    assert kind.numbers == f"{facts.get('number', 'uint')}{facts.get('bits', 8)}"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_the_shape_is_that_of_the_picture_that_is_read(tmp_path: Path, kind: str, orientation: int) -> None:
    (tmp_path / "a").write_bytes(saved(RGB, kind, exif=turned(orientation)))
    shape = read_kind(tmp_path / "a").shape
    assert shape == read_image(tmp_path / "a").shape[:2]
    if kind not in ("BMP", "GIF"):
        assert shape == ((31, 24) if orientation > 4 else (24, 31))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_shape_of_a_deep_image_is_that_of_the_picture_that_is_read(tmp_path: Path, orientation: int) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(GREY, _274=orientation))
    window = Window(low=0, high=4095)
    assert read_kind(tmp_path / "a.tif").shape == read_image(tmp_path / "a.tif", window).shape[:2]


def test_a_png_without_exif_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(saved(RGB, "PNG"))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert read_kind(tmp_path / "a.png").shape == (24, 31)


def test_a_bomb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(saved(RGB, "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UserError, match="decompression bomb"):
        read_kind(tmp_path / "a.png")


@pytest.mark.parametrize("name", KINDS)
def test_an_image_is_deep_if_it_needs_a_window(tmp_path: Path, name: str) -> None:
    data, _ = KINDS[name]
    (tmp_path / "a").write_bytes(data)
    if read_kind(tmp_path / "a").is_deep:
        with pytest.raises(UserError, match="--window"):
            read_image(tmp_path / "a")
    else:
        assert read_image(tmp_path / "a").dtype == np.uint8


def test_what_is_not_read_has_an_obstacle(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(values_of("uint16", (24, 31, 5))))
    assert read_kind(tmp_path / "a.tif").obstacle.startswith("has 5 channels")


def test_no_picture_is_decoded(tmp_path: Path) -> None:
    """The pixels of these are missing."""
    for name, data in (("a.png", png(GREY)), ("a.tif", tiff(GREY)), ("a.jpg", saved(RGB, "JPEG"))):
        (tmp_path / name).write_bytes(data[: -len(data) // 4])
        assert read_kind(tmp_path / name).height == 24


@pytest.mark.parametrize(
    "data", [b"no image", b"\xff\xd8\xff", b"II*\0", tiff(GREY, _257=0), png(GREY)[:20], chunk(b"IHDR", b"")]
)
@pytest.mark.filterwarnings("ignore")
def test_other_files_are_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "notes.txt").write_bytes(data)
    with pytest.raises(UserError, match=r"^\S*notes\.txt: cannot be read: [^\n]+$"):
        read_kind(tmp_path / "notes.txt")
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(UserError, match=r"notes\.txt: is empty"):
        read_kind(tmp_path / "notes.txt")
    with pytest.raises(UserError, match=r"absent\.png: no such file$"):
        read_kind(tmp_path / "absent.png")
