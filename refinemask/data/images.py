"""Finding and reading image files. Imports no PyTorch."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinemask.files import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp"}
"""Endings, in lower case, by which image files are found in a folder."""
JPEG_START_OF_SCAN, JPEG_END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
PNG_END = b"IEND"


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Decode an image file as OpenCV does, which is how the official model was trained and measured.

    Grey, palette and CMYK images become RGB, an alpha channel is dropped, 16 bits are cut to 8, and the orientation
    recorded in EXIF is applied, so the result is the picture as a viewer shows it.

    Returns:
        [h, w, 3] uint8 RGB.

    Raises:
        UserError: the file cannot be read, is empty, no image, cut short, or too large to decode safely.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if not data:
        raise UserError(f"{path}: the file is empty, expected an image")
    if _is_cut_short(data, _image_format(path, data)):
        raise UserError(f"{path}: the image is truncated, its end is missing; copy or download it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise UserError(f"{path}: cannot be decoded: {error.err}") from error
    if image is None:
        raise UserError(f"{path}: cannot be decoded, the image is damaged or of an unsupported kind")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The given files, and the image files of the given folders, by name.

    Raises:
        UserError: a folder holds no image file, or nothing was given.
    """
    paths: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise UserError(f"{path}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
            paths += found
        else:
            paths.append(path)
    if not paths:
        raise UserError("no image was given; expected files or folders")
    return paths


def _image_format(path: str | os.PathLike[str], data: bytes) -> str:
    """The file's format from its header alone, so that a decompression bomb is refused before it is unpacked."""
    try:
        with Image.open(BytesIO(data)) as header:
            return header.format or ""
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: the image is too large to decode safely: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: not an image of a known format (it starts with {data[:8]!r})") from error


def _is_cut_short(data: bytes, image_format: str) -> bool:
    # Some OpenCV versions fill the missing part of a JPEG with grey and report success. The last end marker is compared
    # with the last scan because an embedded thumbnail carries an end marker of its own.
    if image_format == "JPEG":
        return data.rfind(JPEG_END_OF_IMAGE) < data.rfind(JPEG_START_OF_SCAN)
    return image_format == "PNG" and PNG_END not in data
