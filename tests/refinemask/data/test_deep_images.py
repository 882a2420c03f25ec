"""Images of more than 8 bits per channel become images of 8 by a window, or are refused with the option that helps."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from refinemask.config import Window
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.window import map_window
from tests.refinemask.test_window import values_of
from tests.support.image_files import chunk, png, tiff
from tests.support.mutations import refusal

WINDOW = Window(low=1, high=99, percentile=True)
FULL = Window(low=0, high=65535)
PNG_END = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
ENDIANS: tuple[Literal["<", ">"], ...] = "<", ">"
UINT32 = () if cv2.__version__.startswith("4.") else ("uint32",)
"""OpenCV 4 reads none of these."""
LZW, DEFLATE = 5, 8
BELOW_ZERO = chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
"""PNG's chunk of EXIF's orientation 6: turned by 90 degrees to the right."""


def opencv(pixels: np.ndarray, compression: int, predictor: int) -> bytes:
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    return cv2.imencode(".tiff", pixels if pixels.ndim == 2 else pixels[..., ::-1], options)[1].tobytes()


def pillow(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF", **options)
    return buffer.getvalue()


GREY = values_of("uint16", (24, 31))
COLOURS = values_of("uint16", (24, 31, 3))
RGBA = values_of("uint16", (24, 31, 4))
FLOATS = values_of("float32", (24, 31))
READ: dict[str, tuple[bytes, np.ndarray]] = {
    "png": (png(GREY), GREY),
    "rgb png": (png(COLOURS), COLOURS),
    "rgba png": (png(RGBA), RGBA[..., :3]),
    "png with grey and alpha": (png(RGBA[..., :2]), RGBA[..., 0]),
    "png with a transparent colour": (png(GREY, before=chunk(b"tRNS", b"\1\2")), GREY),
    "png with 12 significant bits": (png(GREY >> 4, before=chunk(b"sBIT", b"\x0c")), GREY >> 4),
    "png with a gamma": (png(COLOURS, before=chunk(b"gAMA", b"\0\1\x86\xa0")), COLOURS),
    "turned png": (png(GREY, before=BELOW_ZERO), np.rot90(GREY, -1)),
    "turned rgb png": (png(COLOURS, before=BELOW_ZERO), np.rot90(COLOURS, -1)),
    "16-bit pgm": (cv2.imencode(".pgm", GREY)[1].tobytes(), GREY),
    "16-bit ppm": (cv2.imencode(".ppm", COLOURS[..., ::-1])[1].tobytes(), COLOURS),
    "uint16 of 12 bits": (tiff(GREY >> 4), GREY >> 4),
    "turned tiff": (tiff(GREY, _274=6), np.rot90(GREY, -1)),
    "turned float tiff": (tiff(FLOATS, _274=8), np.rot90(FLOATS, 1)),
    "mirrored rgb tiff": (tiff(COLOURS, _274=2), COLOURS[:, ::-1]),
    "white is zero": (tiff(GREY, photometric=0), -GREY.astype(np.int32)),
    "two pages": (pillow(GREY, save_all=True, append_images=[Image.fromarray(GREY // 2)]), GREY),
    "tiled": (b"", GREY),
    "float rgb": (tiff(values_of("float32", (24, 31, 3))), values_of("float32", (24, 31, 3))),
    "float rgba": (tiff(values_of("float32", (24, 31, 4))), values_of("float32", (24, 31, 4))[..., :3]),
    "rgba tiff": (tiff(RGBA), RGBA[..., :3]),
}
READ |= {
    f"{dtype} {endian}": (tiff(values_of(dtype), endian=endian), values_of(dtype))
    for dtype in ("uint16", "int16", "int32", "float32", "float64", *UINT32)
    for endian in ENDIANS
}
READ |= {
    f"{name} {pixels.dtype} {pixels.ndim} {predictor}": (opencv(pixels, compression, predictor), pixels)
    for name, compression in (("lzw", LZW), ("deflate", DEFLATE))
    for pixels in (GREY, COLOURS, FLOATS, values_of("float64"), values_of("float32", (9, 11, 3)))
    for predictor in (1, 2 if pixels.dtype == np.uint16 else 3)
}
READ |= {
    f"Pillow's {compression} {pixels.dtype}": (pillow(pixels, compression=compression), pixels)
    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate")
    for pixels in (GREY, values_of("int32"), FLOATS)
}


def tiled(pixels: np.ndarray) -> bytes:
    """A TIFF of one tile of 32 × 32 pixels, larger than the picture."""
    tile = np.zeros((32, 32), pixels.dtype)
    tile[: pixels.shape[0], : pixels.shape[1]] = pixels
    data = bytearray(tiff(tile, _322=32, _323=32))
    # The tile's place and size have tags of their own, and the picture is smaller than the tile.
    for old, new in ((273, 324), (279, 325)):
        place = data.index(old.to_bytes(2, "little") + b"\x04\0\1\0\0\0")
        data[place : place + 2] = new.to_bytes(2, "little")
    for tag, value in ((256, pixels.shape[1]), (257, pixels.shape[0])):
        place = data.index(tag.to_bytes(2, "little") + b"\x04\0\1\0\0\0")
        data[place + 8 : place + 12] = value.to_bytes(4, "little")
    return bytes(data)


READ["tiled"] = tiled(GREY), GREY


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("window", [WINDOW, FULL])
def test_a_window_maps_the_values_that_were_stored(tmp_path: Path, name: str, window: Window) -> None:
    data, stored = READ[name]
    (tmp_path / "a.img").write_bytes(data)
    expected = map_window(stored, window)
    if name == "white is zero":
        expected = 255 - map_window(GREY, window)
    np.testing.assert_array_equal(read_image(tmp_path / "a.img", window), expected)


@pytest.mark.parametrize("name", READ)
def test_without_a_window_it_is_refused_with_what_it_is_and_the_option(tmp_path: Path, name: str) -> None:
    data, stored = READ[name]
    (tmp_path / "a.img").write_bytes(data)
    message = refusal(lambda: read_image(tmp_path / "a.img"))
    assert message is not None
    assert message.startswith(f"{tmp_path / 'a.img'}: has ")
    assert "--window LOW HIGH" in message
    assert "percentile 0.1 99.9" in message
    if name != "white is zero":
        assert f"has {stored.dtype} values {stored.min():.6g}" in message or stored.dtype.kind != "f"
        assert f"has {stored.dtype} values" in message


def test_twelve_bits_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(np.array([[5, 4095]], np.uint16)))
    with pytest.raises(UserError, match=r"a\.tif: has uint16 values 5 to 4095 \(12 bits\), expected 8 bits"):
        read_image(tmp_path / "a.tif")


def packed_12_bits(pixels: np.ndarray) -> bytes:
    rows = b"".join(
        int("".join(f"{value:012b}" for value in row), 2).to_bytes(len(row) * 12 // 8, "big") for row in pixels.tolist()
    )
    plain = tiff(pixels, _258=12, _279=len(rows))
    return plain[: -pixels.nbytes] + rows


REFUSED = {
    "packed 12 bits": (packed_12_bits(GREY[:, :30] >> 4), "has uint12 values, expected uint8, uint16"),
    "5 channels": (tiff(values_of("uint8", (9, 11, 5))), "has 5 channels, expected 1, 3 .RGB. or 4"),
    "5 deep channels": (tiff(values_of("uint16", (9, 11, 5))), "has 5 channels"),
    "2 deep channels": (tiff(values_of("uint16", (9, 11, 2))), "2 channels of uint16 that are neither grey nor RGB"),
    "3 deep channels": (
        tiff(values_of("uint16", (9, 11, 3)), photometric=1),
        "3 channels of uint16 that are neither grey nor RGB",
    ),
    "deep cmyk": (tiff(values_of("uint16", (9, 11, 4)), photometric=5), "4 channels of uint16 that are neither"),
    "deep palette": (tiff(GREY, photometric=3, _320=[0] * 3 * 65536), "1 channels of uint16 that are neither"),
    "planar": (tiff(COLOURS, planar=True), "has uint16 values of 3 channels in separate planes"),
    "planar floats": (
        tiff(values_of("float32", (9, 11, 3)), planar=True),
        "has float32 values of 3 channels in separate planes",
    ),
    "int8": (tiff(values_of("int16").astype(np.int8)), "has int8 values, expected uint8"),
    "float16": (tiff(values_of("float16")), "has float16 values"),
    "uint64": (tiff(values_of("uint64")), "has uint64 values"),
    "complex": (tiff(values_of("float32").astype(np.complex64)), "has other64 values"),
    "unstated numbers": (tiff(GREY, _339=4), "has other16 values"),
    "planar of one channel": (tiff(GREY, planar=True), "has uint16 values of 1 channels in separate planes"),
    "missing rows": (tiff(GREY, _278=20), "damaged, .*its tags name 1 strips of 20 rows, expected 24 rows"),
    "mixed depths": (tiff(COLOURS, _258=[8, 16, 16]), "has channels of different depths"),
    "3 channels of 8 bits": (tiff(values_of("uint8", (9, 11, 3)), photometric=1), "not an image of a known format"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("window", [None, WINDOW])
def test_what_is_not_read_is_named(tmp_path: Path, name: str, window: Window | None) -> None:
    data, reason = REFUSED[name]
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(UserError, match=rf"a\.tif: .*{reason}"):
        read_image(tmp_path / "a.tif", window)


@pytest.mark.parametrize("window", [WINDOW, FULL])
def test_a_window_leaves_images_of_8_bits_alone(tmp_path: Path, window: Window) -> None:
    pixels = values_of("uint8", (24, 31, 3))
    for name, data in (("a.png", png(pixels)), ("a.tif", tiff(pixels)), ("grey.png", png(pixels[..., 0]))):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_image(tmp_path / name, window), read_image(tmp_path / name))
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", window), read_image(tmp_path / "a.jpg"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "data",
    [
        tiff(np.zeros((1, 1), np.uint16), _256=20000, _257=20000, _278=20000),
        tiff(np.zeros((1, 1, 3), np.float32), _256=10000, _257=10000, _278=10000),
        tiff(np.zeros((1, 1), np.float64), _256=13000, _257=13000, _278=13000),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 12000, 12000, 16, 6, 0, 0, 0)) + PNG_END,
    ],
)
def test_decompression_bombs_are_told_by_their_header(tmp_path: Path, data: bytes) -> None:
    """Pillow counts pixels, up to 179 million; four channels of 16 bits or three of 32 make more bytes of fewer."""
    (tmp_path / "bomb").write_bytes(data)
    with pytest.raises(UserError, match=r"bomb: the image is too large to decode safely: 1|bomb: .*: 20000x20000"):
        read_image(tmp_path / "bomb", WINDOW)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["png", "rgb png", "uint16 <", "float64 <", "lzw uint16 3 2", "deflate float32 2 3"])
def test_a_deep_image_that_is_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    """Its very end may say nothing of the picture."""
    data, stored = READ[name]
    for share in (0.2, 0.5, 0.9, 0.99):
        (tmp_path / "a.img").write_bytes(data[: int(len(data) * share)])
        if refusal(lambda: read_image(tmp_path / "a.img", WINDOW)) is None:
            assert share == 0.99
            np.testing.assert_array_equal(read_image(tmp_path / "a.img", WINDOW), map_window(stored, WINDOW))


def animation(kind: str, **options: Any) -> tuple[bytes, np.ndarray]:
    """A file of three pictures, and the first."""
    pictures = [Image.fromarray(values_of("uint8", (20, 30 + i, 3))[:, :30]) for i in range(3)]
    if kind == "GIF":
        pictures = [picture.quantize(64) for picture in pictures]
    buffer = BytesIO()
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:], **options)
    return buffer.getvalue(), np.asarray(pictures[0].convert("RGB"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GIF", {}),
        ("GIF", {"transparency": 3}),
        ("PNG", {}),
        ("PNG", {"default_image": True}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
    ],
)
def test_the_first_of_several_pictures_is_read(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    data, first = animation(kind, **options)
    with Image.open(BytesIO(data)) as file:
        assert sum(1 for _ in ImageSequence.Iterator(file)) >= 3
    (tmp_path / "a").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "a"), first)


def test_damaged_gif_is_refused(tmp_path: Path) -> None:
    data, _ = animation("GIF")
    (tmp_path / "a.gif").write_bytes(data[:300])
    assert refusal(lambda: read_image(tmp_path / "a.gif")) is not None


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_of_a_turned_tiff_is_dropped(tmp_path: Path, orientation: int) -> None:
    pixels = values_of("uint8", (20, 30, 4))
    for name, turned in (("alpha.tif", pixels), ("plain.tif", pixels[..., :3])):
        (tmp_path / name).write_bytes(tiff(turned, _274=orientation))
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.tif"), read_image(tmp_path / "plain.tif"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_dropped(tmp_path: Path, kind: str) -> None:
    pixels = values_of("uint8", (20, 30, 4))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    (tmp_path / "a").write_bytes(saved(Image.fromarray(pixels), kind, **options))
    np.testing.assert_array_equal(read_image(tmp_path / "a"), pixels[..., :3])


def test_transparent_palette_entries_keep_their_colours(tmp_path: Path) -> None:
    image = Image.fromarray(values_of("uint8", (20, 30, 3))).quantize(64)
    (tmp_path / "a.png").write_bytes(saved(image, "PNG", transparency=bytes(range(64))))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK"])
def test_tiff_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(cv2.resize(values_of("uint8", (4, 5, 3)), (30, 20))).convert(mode)
    (tmp_path / "a.tif").write_bytes(data := saved(image, "TIFF"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.asarray(Image.open(BytesIO(data)).convert("RGB")))
