"""Every kind of image file is read as OpenCV reads it, or refused with an error that names it."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from refinemask.data.images import find_images, read_image
from refinemask.files import UserError

ORIENTATION = 0x0112


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth [60, 80, 3] RGB picture in which all four corners differ."""
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(colours, (80, 60), interpolation=cv2.INTER_LINEAR)


def encode(picture: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_equals_opencv(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    path = write(tmp_path / "a.jpg", encode(Image.fromarray(picture).convert(mode), "JPEG"))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (60, 80, 3)
    expected = cv2.imread(str(path))
    assert expected is not None
    np.testing.assert_array_equal(image, expected[..., ::-1])
    # Pillow converts CMYK with another rounding.
    assert np.abs(image.astype(int) - np.asarray(Image.open(path).convert("RGB"))).max() <= (mode == "CMYK")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1"])
def test_png_modes_become_rgb(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    image = Image.fromarray(picture).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(picture[..., 0]))
    read = read_image(write(tmp_path / "a.png", encode(image, "PNG")))
    np.testing.assert_array_equal(read, np.asarray(image.convert("RGB")))


def test_sixteen_bits_are_cut_to_eight(tmp_path: Path, picture: np.ndarray) -> None:
    data = cv2.imencode(".png", picture[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", data)), picture)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, picture: np.ndarray, kind: str, orientation: int) -> None:
    data = encode(picture, kind, exif=exif(orientation))
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[:, ::-1],
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: a.swapaxes(0, 1)[::-1],
    }[orientation](np.asarray(Image.open(BytesIO(data))))
    np.testing.assert_array_equal(read_image(write(tmp_path / "a", data)), upright)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (200, 8000), (8000, 200)])
def test_extreme_sizes(tmp_path: Path, height: int, width: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", encode(pixels, "PNG"))), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.98])
def test_truncated_file_is_an_error(tmp_path: Path, picture: np.ndarray, kind: str, fraction: float) -> None:
    data = encode(picture, kind)
    path = write(tmp_path / "half.img", data[: int(len(data) * fraction)])
    with pytest.raises(UserError, match=r"half\.img"):
        read_image(path)


def test_truncated_jpeg_with_a_whole_thumbnail_is_an_error(tmp_path: Path, picture: np.ndarray) -> None:
    thumbnail = encode(picture[::4, ::4], "JPEG")
    data = encode(picture, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail
    whole = data[:2] + segment + data[2:]
    np.testing.assert_array_equal(read_image(write(tmp_path / "whole.jpg", whole)).shape, (60, 80, 3))
    with pytest.raises(UserError, match="truncated"):
        read_image(write(tmp_path / "cut.jpg", whole[:-200]))


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"no image at all", b"%PDF-1.7\n", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]
)
def test_other_files_are_errors_that_name_the_file(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "notes.jpg", data)
    with pytest.raises(UserError, match=r"notes\.jpg"):
        read_image(path)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_image(path)


def test_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    )
    with pytest.raises(UserError, match=r"bomb\.png: the image is too large"):
        read_image(write(tmp_path / "bomb.png", b"\x89PNG\r\n\x1a\n" + chunks))


def test_images_of_a_folder_come_by_name(tmp_path: Path) -> None:
    for name in ("c.png", "b.JPG", "a.webp", "notes.txt"):
        (tmp_path / name).touch()
    found = find_images([tmp_path / "c.png", tmp_path])
    assert [path.name for path in found] == ["c.png", "a.webp", "b.JPG", "c.png"]
    with pytest.raises(UserError, match="no image was given"):
        find_images([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: the folder holds no image"):
        find_images([tmp_path / "empty"])
