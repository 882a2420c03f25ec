"""Every kind of image file is read as OpenCV reads it, or refused with an error that names it."""

import os
import re
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from refinemask.data import images
from refinemask.data.images import find_images, images_of, read_image
from refinemask.files import UserError
from tests.support.mutations import refusal

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


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("target", ["a.png", "nowhere.png"])
def test_a_link_that_leads_nowhere_is_one_file_of_a_folder(tmp_path: Path, target: str) -> None:
    (tmp_path / "a.png").symlink_to(target)
    (tmp_path / "b.png").touch()
    assert [path.name for path in images_of(tmp_path, recursive=True)] == ["a.png", "b.png"]
    with pytest.raises(UserError, match=r"a\.png: cannot be read"):
        read_image(tmp_path / "a.png")


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_files(picture: np.ndarray) -> dict[str, bytes]:
    """JPEG files that phones, cameras and programs write, by what is special in them."""
    plain = encode(picture, "JPEG", quality=90)
    start, end = plain[:2], plain[-2:]
    trailer = np.random.default_rng(2).bytes(3000) + b"\xff\xda" + b"video"
    restarts = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    return {
        "plain": plain,
        "progressive": encode(picture, "JPEG", progressive=True),
        "restart markers": restarts,
        "thumbnail": start + segment(0xE1, b"Exif\0\0" + encode(picture[::4, ::4], "JPEG")) + plain[2:],
        "markers in a comment": start + segment(0xFE, b"\xff\xd9\xff\xda") + plain[2:],
        "fill bytes": start + b"\xff\xff\xff" + plain[2:-2] + b"\xff\xff\xff" + end,
        "padding before the end": plain[:-2] + bytes(50) + end,
        "garbage before the end": plain[:-2] + b"garbage" + end,
        "motion photo": plain + trailer,
        "two pictures": encode(
            picture, "MPO", save_all=True, append_images=[Image.fromarray(np.ascontiguousarray(picture[::-1]))]
        ),
    }


@pytest.mark.parametrize("name", jpeg_files(np.zeros((8, 8, 3), np.uint8)))
def test_a_jpeg_is_read_to_its_own_end_and_refused_where_that_is_missing(
    tmp_path: Path, picture: np.ndarray, name: str
) -> None:
    data = jpeg_files(picture)[name]
    path = write(tmp_path / "a.jpg", data)
    whole = read_image(path)
    np.testing.assert_array_equal(whole, np.asarray(Image.open(path).convert("RGB")))
    read = 0
    for cut in range(50, len(data) - 1, 50):
        write(path, data[:cut])
        if refusal(lambda: read_image(path)) is None:
            np.testing.assert_array_equal(read_image(path), whole)
            read += 1
    assert (read > 0) == (name in ("motion photo", "two pictures")), "only what comes behind may be missing"


def end_by_expression(data: bytes) -> int | None:
    """Where a JPEG ends, found marker by marker by a regular expression."""
    position = 2
    while marker := re.compile(rb"\xff+([\x02-\xcf\xd8-\xfe])", re.DOTALL).search(data, position):
        position = marker.end()
        if marker[1] == b"\xd9":
            return position
        position += int.from_bytes(data[position : position + 2], "big")
    return None


@pytest.mark.parametrize("searched", [1, 2, 7, 1 << 18])
def test_the_end_of_a_jpeg_is_found_in_blocks_of_any_size(searched: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SEARCHED_BYTES", searched)
    rng = np.random.default_rng(0)
    # Every byte can come, those of markers, fills and short segments often.
    often = np.frombuffer(b"\xff\xff\xff\xd9\xd9\xda\xd0\xd7\xd8\x00\x00\x01\x02\xcf\xfe\x03\x05", np.uint8)
    ends = []
    for _ in range(400):
        size = int(rng.integers(0, 60))
        values = np.where(rng.random(size) < 0.8, rng.choice(often, size), rng.integers(0, 256, size))
        data = b"\xff\xd8" + values.astype(np.uint8).tobytes()
        ends.append(images._jpeg_end(data))
        assert ends[-1] == end_by_expression(data)
    assert len(set(ends)) > 10
    assert ends.count(None) > 20


def test_what_follows_a_jpeg_is_not_searched(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(picture, "JPEG")
    monkeypatch.setattr(images, "SEARCHED_BYTES", len(data))
    seen = []
    flatnonzero = np.flatnonzero

    def count(values: np.ndarray) -> np.ndarray:
        seen.append(len(values))
        return flatnonzero(values)

    monkeypatch.setattr(np, "flatnonzero", count)
    assert images._jpeg_end(data + bytes(10 * len(data))) == len(data)
    assert seen == [len(data)]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
@pytest.mark.parametrize("orientation", [*range(1, 9), 99])
def test_avif_is_upright(tmp_path: Path, picture: np.ndarray, orientation: int) -> None:
    path = write(tmp_path / "a.avif", encode(picture, "AVIF", quality=95, exif=exif(orientation)))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    read = read_image(path)
    assert read.shape == upright.shape
    assert np.abs(read - upright).mean() < 2, "the two decoders round the colours in other ways"


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc"])
def test_heic_is_named_with_a_remedy(tmp_path: Path, brand: bytes) -> None:
    path = write(tmp_path / "a.jpg", struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1heic" + bytes(300))
    with pytest.raises(UserError, match=r"a\.jpg: is a HEIC picture, .* convert it to JPEG or PNG"):
        read_image(path)


@pytest.mark.parametrize(("kind", "options"), [("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})])
def test_damage_that_opencv_does_not_see_is_an_error(
    tmp_path: Path, picture: np.ndarray, kind: str, options: dict[str, object]
) -> None:
    data = encode(picture, kind, **options)
    path = write(tmp_path / "a.img", data)
    refused = 0
    for start in range(len(data) // 4, len(data) // 2, len(data) // 40):
        write(path, data[:start] + bytes(40) + data[start + 40 :])
        if reason := refusal(lambda: read_image(path)):
            assert "damaged" in reason
            refused += 1
        else:
            np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path).convert("RGB")))
    assert refused > 0


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, path: str) -> None:
    if path == "pipe":
        os.mkfifo(tmp_path / path)
    with pytest.raises(UserError, match="cannot be read: it is a device, a pipe or a socket"):
        read_image(tmp_path / path)


@pytest.mark.parametrize("name", ["a\0.png", "\ud800.png", "x" * 300])
def test_names_that_no_file_can_have_are_errors(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path / name)


def test_libraries_print_nothing(tmp_path: Path, picture: np.ndarray) -> None:
    """Neither Pillow's warning of large pictures nor OpenCV's lines, which name no file."""
    Image.new("1", (10000, 9000)).save(tmp_path / "large.png")
    write(tmp_path / "damaged.png", encode(picture, "PNG")[:-40] + bytes(28) + encode(picture, "PNG")[-12:])
    write(tmp_path / "damaged.avif", encode(picture, "PNG")[:8] + bytes(50) + b"IEND")
    script = (
        "import sys\nfrom refinemask.data.opencv_log import _log as logging\n"
        "from refinemask.data.images import read_image\n"
        "from refinemask.files import UserError\nlevel = logging.getLogLevel()\n"
        "for path in sys.argv[1:]:\n    try:\n        print(read_image(path).shape)\n"
        "    except UserError:\n        print('refused')\n"
        "assert logging.getLogLevel() == level > 0\n"
    )
    paths = [tmp_path / name for name in ("large.png", "damaged.png", "damaged.avif")]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["(9000, 10000, 3)", "refused", "refused"]
    assert "Warning" not in done.stderr
    assert "ERROR" not in done.stderr


def test_files_of_other_kinds_in_a_folder_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.HEIC", "c.heic", "d.gif", "._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "README"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in find_images([tmp_path])] == ["a.png"]
    assert capsys.readouterr().err == f"{tmp_path}: left out: 4 files of other kinds: .heic, no ending, .gif\n"
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"holds no image \(.*\), but 4 files of other kinds: \.heic, no ending, \.gif"):
        find_images([tmp_path])
