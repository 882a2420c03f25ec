"""The image files that annotations belong to."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinemask.config import Window
from refinemask.data.coco import CocoImage
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.json_files import short


def locate(directory: str | os.PathLike[str], file_name: str) -> Path:
    """Where the file of an image is: below ``directory``, so that annotations of others lead to no other files.

    An absolute name may lead below it too, and links in the folder lead where their maker wanted. Backslashes, which
    exports on Windows write, separate folders unless a file has one in its name.

    Raises:
        UserError: the name is a URL, leads out of the folder, or to something that is no regular file.
    """
    if "://" in file_name:
        raise UserError(f"{short(file_name)}: is a URL, expected the name of a file below {directory}; download it")
    # Lone surrogates, which JSON may have, are no characters.
    if "\0" in file_name or file_name.encode(errors="ignore").decode() != file_name:
        raise UserError(f"{directory}: no file there can have the name {short(file_name)}")
    path = Path(os.path.join(directory, file_name))
    if "\\" in file_name and not os.path.exists(path):
        path = Path(os.path.join(directory, file_name.replace("\\", "/")))
    place = Path(os.path.abspath(path))
    # The second, which asks the file system for every folder on the way, is for absolute names alone.
    if not place.is_relative_to(os.path.abspath(directory)) and not place.is_relative_to(os.path.realpath(directory)):
        raise UserError(f"{short(str(path))}: is not below the folder {directory}; name a folder that has all images")
    if not os.path.isfile(path) and os.path.exists(path):
        raise UserError(f"{short(str(path))}: is no regular file, expected an image")
    return path


def is_there(directory: str | os.PathLike[str], image: CocoImage) -> bool:
    """Whether :func:`read_annotated` finds a file of the image."""
    try:
        return os.path.isfile(locate(directory, image.file_name))
    except UserError:
        return False


def require_files(
    images: Sequence[CocoImage], directory: str | os.PathLike[str], annotations: str | os.PathLike[str]
) -> None:
    """Raise a UserError unless the file of every image listed in ``annotations`` is below ``directory``."""
    missing = [image.file_name for image in images if not os.path.isfile(locate(directory, image.file_name))]
    if missing:
        raise UserError(
            f"{directory}: {len(missing)} of the {len(images)} files for the images of {annotations} are missing, "
            f"the first is {short(missing[0])}; check --data-root"
        )


def read_annotated(
    directory: str | os.PathLike[str], image: CocoImage, window: Window | None = None
) -> NDArray[np.uint8]:
    """Decode an image in ``directory`` as [h, w, 3] RGB, as :func:`refinemask.data.images.read_image` does.

    Raises:
        UserError: the image cannot be read, is not below the folder, or has another size than its annotations say.
    """
    path = locate(directory, image.file_name)
    pixels = read_image(path, window)
    if pixels.shape[:2] != (image.height, image.width):
        raise UserError(
            f"{path}: is {pixels.shape[0]}x{pixels.shape[1]} (height x width, upright by its EXIF orientation), "
            f"but was annotated at {image.height}x{image.width}; annotate the picture as it is shown, or scale one "
            "to the other"
        )
    return pixels
