"""Finding and reading image files. Imports no PyTorch."""

import os
import stat
import sys
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from refinemask.config import Window
from refinemask.data.image_kind import LARGEST_PICTURE, SIDEWAYS, ImageKind, kind_of
from refinemask.data.opencv_log import silent_opencv
from refinemask.files import UserError
from refinemask.window import WHITE, map_window, require_window

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp"}
"""Endings, in lower case, by which image files are found in a folder."""
NOT_COUNTED = {"thumbs.db", "desktop.ini"}
"""Names, in lower case, of what file managers leave in folders of pictures; they hide what begins with a dot."""
NAMED_KINDS = 5
"""Largest number of kinds of files that are named."""

JPEG_START = b"\xff\xd8"
JPEG_FILL = 0xFF
# Within a scan 00 stands for the FF itself, D0 to D7 restart it, and 01 has no content.
JPEG_HAS_SEGMENT = np.isin(np.arange(256), [0x00, 0x01, *range(0xD0, 0xD8), JPEG_FILL], invert=True)
"""Whether a byte behind FF begins a segment or ends the picture."""
JPEG_END_OF_IMAGE = 0xD9
SEARCHED_BYTES = 1 << 18
"""Bytes of a JPEG that are searched at once; what follows the picture is not searched."""
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND"
DECODED_TWICE = {"TIFF", "WEBP"}
"""Formats of which OpenCV decodes some damaged files without an error; Pillow refuses them."""
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

# Pillow warns from half the size on that it refuses. Once for all, because filters are of the whole process, and each
# change of them lets warnings come again that are to come once.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path: str | os.PathLike[str], window: Window | None = None) -> NDArray[np.uint8]:
    """Decode an image file as OpenCV does, which is how the official model was trained and measured.

    Grey, palette and CMYK images become RGB, an alpha channel is dropped, and the orientation recorded in the file is
    applied, so the result is the picture as a viewer shows it. Of several pictures in a file it is the first. What
    follows a JPEG, such as the video of a motion photo, is ignored. TIFF and WebP are decoded by Pillow as well,
    because OpenCV decodes some damaged ones without an error. What some version of OpenCV does not read, such as GIF
    and animated WebP, or multiplies by its alpha, is decoded by Pillow alone.

    Args:
        path: the file.
        window: how an image of more than 8 bits per channel becomes one of 8; images of 8 bits stay as they are.

    Returns:
        [h, w, 3] uint8 RGB.

    Raises:
        UserError: the file cannot be read, is no regular file, is empty, no image, cut short, damaged, too large to
            decode safely, of a kind that is not read, or has more than 8 bits without a window.
    """
    return decode_image(path, read_bytes(path), window)


def decode_image(name: str | os.PathLike[str], data: bytes, window: Window | None = None) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as :func:`read_image` does.

    Args:
        name: how errors name the image.
        data: the whole file.
        window: how an image of more than 8 bits per channel becomes one of 8; images of 8 bits stay as they are.

    Returns:
        [h, w, 3] uint8 RGB.

    Raises:
        UserError: the data are empty, or the image is one that :func:`read_image` refuses.
    """
    if not data:
        raise UserError(f"{name}: the file is empty, expected an image")
    kind = _inspect(name, data)
    if _is_cut_short(data):
        raise UserError(f"{name}: the image is truncated, its end is missing; copy or download it again")
    image = _decode_with_pillow(name, data) if _is_for_pillow(kind) else _decode(name, data, kind)
    if image.dtype == np.uint8:
        return image
    mapped = map_window(image, require_window(name, image, window))
    return WHITE - mapped if kind.white_is_zero else mapped


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The given files, and the image files of the given folders, by name.

    How many files of a folder are of other kinds is printed to standard error; what file managers add is not counted.

    Raises:
        UserError: a folder holds no image file or cannot be read, or nothing was given.
    """
    paths: list[Path] = []
    for path in inputs:
        paths += images_of(path) if os.path.isdir(path) else [path]
    if not paths:
        raise UserError("no image was given; expected files or folders")
    return paths


def images_of(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The image files of a folder by name, and of its folders behind them if ``recursive``.

    Folders whose names begin with a dot are left out. So is a link to a folder that the way to it leads through, or
    the way would have no end.

    Raises:
        UserError: there is no image file, or a folder cannot be read.
    """
    files = _files_below(folder, ()) if recursive else _entries(folder)[0]
    # macOS keeps what other file systems have no place for in files called ._a.jpg, beside a.jpg.
    found = [file for file in files if _kind(file) in IMAGE_SUFFIXES and not file.name.startswith("._")]
    others = [file for file in files if not file.name.startswith(".") and file.name.lower() not in NOT_COUNTED]
    left_out = _counted([_kind(file) for file in others if _kind(file) not in IMAGE_SUFFIXES])
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{folder}: the folder holds no image ({kinds}){f', but {left_out}' if left_out else ''}")
    if left_out:
        print(f"{folder}: left out: {left_out}", file=sys.stderr)
    return found


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files and the folders in a folder, each by name."""
    try:
        with os.scandir(folder) as entries:
            # Names, because paths compare slowly.
            found = sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    files, folders = ([folder / name for name, is_folder in found if is_folder is kind] for kind in (False, True))
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # Such as a link to itself, which is no reason to lose the other files.
        return False


def _files_below(folder: Path, above: tuple[str, ...]) -> list[Path]:
    """Files in a folder and all below it; ``above`` are the real places of the folders that it lies in."""
    files, folders = _entries(folder)
    way = (*above, os.path.realpath(folder))
    for each in folders:
        if not each.name.startswith(".") and os.path.realpath(each) not in way:
            files += _files_below(each, way)
    return files


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


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of an image file, for :func:`decode_image`.

    Raises:
        UserError: the file cannot be read, or is no regular file.
    """
    try:
        mode = os.stat(path).st_mode
        # A pipe would be waited for, and a device may have no end.
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise UserError(f"{path}: cannot be read: it is a device, a pipe or a socket; expected an image file")
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        # A name that no file can have, such as annotations may hold.
        raise UserError(f"{os.fspath(path)!r}: cannot be read: {error}") from error


def _inspect(path: str | os.PathLike[str], data: bytes) -> ImageKind:
    """What the header says of a file, which alone tells a decompression bomb: it is refused before it is unpacked."""
    with _pillow_errors(path, data):
        kind = kind_of(BytesIO(data))
    _require_decodable(path, kind)
    if kind.format in DECODED_TWICE:
        with _pillow_errors(path, data):
            _require_whole(data, kind)
    return kind


@contextmanager
def _pillow_errors(path: str | os.PathLike[str], data: bytes) -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: the image is too large to decode safely: {error}") from error
    except Exception as error:  # Pillow's readers raise a dozen kinds.
        raise UserError(f"{path}: {_why_unknown(data, error)}") from error


def _require_decodable(path: str | os.PathLike[str], kind: ImageKind) -> None:
    if kind.obstacle:
        raise UserError(f"{path}: {kind.obstacle}")
    # Three bytes for the result and as many for what it is made of, where the file has less than that.
    size = kind.height * kind.width * max(kind.channels * kind.bits // 8, 6)
    if kind.is_deep and size > LARGEST_PICTURE:
        what = f"{kind.height}x{kind.width} pixels of {kind.channels} {kind.numbers}"
        raise UserError(f"{path}: the image is too large to decode safely: {what}, {size} bytes; cut it into parts")


def _require_whole(data: bytes, kind: ImageKind) -> None:
    """Raise whatever Pillow raises for a damaged picture."""
    try:
        with Image.open(BytesIO(data)) as picture:
            picture.load()
    except UnidentifiedImageError:
        # Some deep pictures are of no kind that Pillow knows; OpenCV alone decodes these.
        if not kind.is_deep:
            raise


def _is_for_pillow(kind: ImageKind) -> bool:
    """Whether OpenCV, or some version from 4.10 on, does not read such a picture, or multiplies it by its alpha."""
    return kind.format == "GIF" or (kind.format == "WEBP" and kind.frames > 1) or kind.straight_alpha


def _decode_with_pillow(path: str | os.PathLike[str], data: bytes) -> NDArray[np.uint8]:
    """The first picture of a file of 8 bits, turned upright, as [h, w, 3] RGB."""
    with _pillow_errors(path, data), Image.open(BytesIO(data)) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def _decode(path: str | os.PathLike[str], data: bytes, kind: ImageKind) -> NDArray[Any]:
    """The pixels, turned upright: uint8 [h, w, 3] RGB, or of more bits [h, w] or [h, w, 3]."""
    try:
        with silent_opencv():
            image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(_still(data), np.uint8), _flags(kind))
    except cv2.error as error:
        raise UserError(f"{path}: cannot be decoded: {' '.join(error.err.split())}") from error
    if image is None or (kind.is_deep and image.dtype == np.uint8):
        raise UserError(f"{path}: cannot be decoded, the image is damaged or of an unsupported kind")
    if image.dtype == np.uint8:
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return _upright(rgb, kind.orientation) if kind.format == "AVIF" else rgb  # type: ignore[arg-type]
    if kind.format == "TIFF":
        image = _as_stored(path, image, kind)
    if image.ndim == 3:
        image = image[..., 0] if kind.channels <= 2 else image[..., 2::-1]
    return image


def _flags(kind: ImageKind) -> int:
    # OpenCV turns every format but AVIF; no version of it may turn that twice. It brings AVIF's 10 bits to 8 itself.
    if kind.format == "AVIF":
        return cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    # Of one channel, or with alpha, it takes 32 bits in this way alone. TIFF is turned all the same.
    if kind.format == "TIFF" and kind.is_deep and kind.channels != 3:
        return cv2.IMREAD_UNCHANGED
    return cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


def _as_stored(path: str | os.PathLike[str], image: NDArray[Any], kind: ImageKind) -> NDArray[Any]:
    """The values of a deep TIFF in the type that its header says: OpenCV 4 gives signed ones for unsigned."""
    stored = np.dtype(kind.numbers)
    channels = image.shape[2] if image.ndim == 3 else 1
    same_kind = (image.dtype.kind == "f") == (stored.kind == "f") and image.dtype.itemsize == stored.itemsize
    if image.shape[:2] != kind.shape or channels != kind.channels or not same_kind:
        raise UserError(f"{path}: cannot be decoded, OpenCV reads {image.dtype} {list(image.shape)} of {kind.numbers}")
    return image.view(stored)


def _still(data: bytes) -> bytes:
    """A PNG without its announcement of an animation: OpenCV 5 may take the second picture for the first."""
    if not data.startswith(PNG_START):
        return data
    position = len(PNG_START)
    while (kind := data[position + 4 : position + 8]) not in (b"IDAT", b""):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if kind == b"acTL":
            return data[:position] + data[end:]
        position = end
    return data


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
    # From behind, where it is: a search holds Python's lock.
    return data.startswith(b"\x89PNG") and data.rfind(PNG_END) < 0


def _jpeg_end(data: bytes) -> int | None:
    """Where the first picture of a JPEG file ends, or None if its end is missing.

    Segments are passed by their length, so an embedded thumbnail's end is not taken for the picture's, nor are bytes
    behind the picture for a part of it.
    """
    position = len(JPEG_START)
    for markers in _jpeg_markers(data):
        # A segment may hold millions of what looks like markers.
        while (place := bisect_left(markers, position)) < len(markers):
            end = markers[place] + 2
            if data[end - 1] == JPEG_END_OF_IMAGE:
                return end
            position = end + int.from_bytes(data[end : end + 2], "big")
    return None


def _jpeg_markers(data: bytes) -> Iterator[list[int]]:
    """Where an FF and the byte behind it may be a marker, in order, block by block.

    There is an FF among every few hundred bytes. NumPy finds them without Python's lock, for which the threads that
    decode side by side would wait.
    """
    values = np.frombuffer(data, np.uint8)
    for start in range(0, len(values), SEARCHED_BYTES):
        # One byte more, because a marker may lie across the border.
        block = values[start : start + SEARCHED_BYTES + 1]
        fills = np.flatnonzero(block[:-1] == JPEG_FILL)
        yield (start + fills[JPEG_HAS_SEGMENT[block[fills + 1]]]).tolist()


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as a viewer shows it: mirrored and turned by EXIF's number, 1 to 8; others mean as it is."""
    if orientation in SIDEWAYS:
        image = image.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image[::rows, ::columns])
