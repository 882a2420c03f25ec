"""Finding and reading image files. Imports no PyTorch."""

import os
import re
import stat
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from refinemask.data.opencv_log import silent_opencv
from refinemask.files import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp"}
"""Endings, in lower case, by which image files are found in a folder."""
NOT_COUNTED = {"thumbs.db", "desktop.ini"}
"""Names, in lower case, of what file managers leave in folders of pictures; they hide what begins with a dot."""
NAMED_KINDS = 5
"""Largest number of kinds of files that are named."""

JPEG_START = b"\xff\xd8"
# Within a scan 00 stands for the FF itself, D0 to D7 restart it, and 01 has no content.
JPEG_MARKER = re.compile(rb"\xff+([\x02-\xcf\xd8-\xfe])", re.DOTALL)
JPEG_END_OF_IMAGE = b"\xd9"
PNG_END = b"IEND"
DECODED_TWICE = {"TIFF", "WEBP"}
"""Formats of which OpenCV decodes some damaged files without an error; Pillow refuses them."""
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

# Pillow warns from half the size on that it refuses. Once for all, because filters are of the whole process, and each
# change of them lets warnings come again that are to come once.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Decode an image file as OpenCV does, which is how the official model was trained and measured.

    Grey, palette and CMYK images become RGB, an alpha channel is dropped, 16 bits are cut to 8, and the orientation
    recorded in the file is applied, so the result is the picture as a viewer shows it. Of several pictures in a file it
    is the first. What follows a JPEG, such as the video of a motion photo, is ignored. TIFF and WebP are decoded by
    Pillow as well, because OpenCV decodes some damaged ones without an error.

    Returns:
        [h, w, 3] uint8 RGB.

    Raises:
        UserError: the file cannot be read, is no regular file, is empty, no image, cut short, damaged, or too large to
            decode safely.
    """
    data = _read_bytes(path)
    image_format, orientation = _inspect(path, data)
    if _is_cut_short(data):
        raise UserError(f"{path}: the image is truncated, its end is missing; copy or download it again")
    # OpenCV turns every format but AVIF; no version of it may turn that twice.
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if image_format == "AVIF" else 0)
    try:
        with silent_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UserError(f"{path}: cannot be decoded: {' '.join(error.err.split())}") from error
    if image is None:
        raise UserError(f"{path}: cannot be decoded, the image is damaged or of an unsupported kind")
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return _upright(rgb, orientation) if image_format == "AVIF" else rgb  # type: ignore[return-value, arg-type]


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The given files, and the image files of the given folders, by name.

    How many files of a folder are of other kinds is printed to standard error; what file managers add is not counted.

    Raises:
        UserError: a folder holds no image file or cannot be read, or nothing was given.
    """
    paths: list[Path] = []
    for path in inputs:
        paths += _images_of(path) if os.path.isdir(path) else [path]
    if not paths:
        raise UserError("no image was given; expected files or folders")
    return paths


def _images_of(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            files = [folder / entry.name for entry in entries if not entry.is_dir()]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    # macOS keeps what other file systems have no place for in files called ._a.jpg, beside a.jpg.
    found = sorted(file for file in files if _kind(file) in IMAGE_SUFFIXES and not file.name.startswith("._"))
    others = [file for file in files if not file.name.startswith(".") and file.name.lower() not in NOT_COUNTED]
    left_out = _counted([_kind(file) for file in others if _kind(file) not in IMAGE_SUFFIXES])
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{folder}: the folder holds no image ({kinds}){f', but {left_out}' if left_out else ''}")
    if left_out:
        print(f"{folder}: left out: {left_out}", file=sys.stderr)
    return found


def _kind(file: Path) -> str:
    return file.suffix.lower()


def _counted(kinds: Sequence[str]) -> str:
    """How many files there are and of which kinds, such as ``2 files of other kinds: .gif, .heic``."""
    if not kinds:
        return ""
    names = [kind or "no ending" for kind, _ in Counter(sorted(kinds)).most_common(NAMED_KINDS)]
    more = ", …" if len(set(kinds)) > NAMED_KINDS else ""
    noun = "1 file of another kind" if len(kinds) == 1 else f"{len(kinds)} files of other kinds"
    return f"{noun}: {', '.join(names)}{more}"


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        mode = os.stat(path).st_mode
        # A pipe would be waited for, and a device may have no end.
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise UserError(f"{path}: cannot be read: it is a device, a pipe or a socket; expected an image file")
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        # A name that no file can have, such as annotations may hold.
        raise UserError(f"{os.fspath(path)!r}: cannot be read: {error}") from error
    if not data:
        raise UserError(f"{path}: the file is empty, expected an image")
    return data


def _inspect(path: str | os.PathLike[str], data: bytes) -> tuple[str, int]:
    """What Pillow says of a file: its format, and by EXIF's number the orientation that OpenCV does not look for.

    The header alone tells a decompression bomb, which is refused before it is unpacked.
    """
    orientation = 1
    try:
        with Image.open(BytesIO(data)) as header:
            image_format = header.format or ""
            if image_format == "AVIF":
                orientation = header.getexif().get(ExifTags.Base.Orientation, 1)
            if image_format in DECODED_TWICE:
                header.load()
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: the image is too large to decode safely: {error}") from error
    except Exception as error:  # Pillow's readers raise a dozen kinds.
        raise UserError(f"{path}: {_why_unknown(data, error)}") from error
    return image_format, orientation


def _why_unknown(data: bytes, error: Exception) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return "is a HEIC picture, which is not read here; convert it to JPEG or PNG"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image of a known format, or cut short (it starts with {data[:8]!r})"
    return f"the image is damaged, or of a kind that is not read here ({' '.join(str(error).split())}); copy it again"


def _is_cut_short(data: bytes) -> bool:
    # Some OpenCV versions fill the missing part of a JPEG with grey and report success.
    if data.startswith(JPEG_START):
        return _jpeg_end(data) is None
    return data.startswith(b"\x89PNG") and PNG_END not in data


def _jpeg_end(data: bytes) -> int | None:
    """Where the first picture of a JPEG file ends, or None if its end is missing.

    Segments are passed by their length, so an embedded thumbnail's end is not taken for the picture's, nor are bytes
    behind the picture for a part of it.
    """
    position = len(JPEG_START)
    while marker := JPEG_MARKER.search(data, position):
        position = marker.end()
        if marker[1] == JPEG_END_OF_IMAGE:
            return position
        position += int.from_bytes(data[position : position + 2], "big")
    return None


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as a viewer shows it: mirrored and turned by EXIF's number, 1 to 8; others mean as it is."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image[::rows, ::columns])
