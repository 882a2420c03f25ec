"""The image files that annotations belong to."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from refinemask.config import Window
from refinemask.data.coco import CocoImage
from refinemask.data.images import read_image
from refinemask.distributed import say
from refinemask.files import UserError
from refinemask.json_files import short


def locate(directory: str | os.PathLike[str], file_name: str) -> Path:
    """Where the file of an image is: below ``directory``, so that annotations of others lead to no other files.

    An absolute name may lead below it too, and links in the folder lead where their maker wanted. Where there is no
    such file, backslashes, which exports on Windows write, separate folders; then the first folders of the name are
    left out one by one, which are those of another machine; then the name's ending may be in capitals or not.

    Raises:
        UserError: no file below the folder is meant, and the name is a URL, leads out of the folder, or to something
            that is no regular file.
    """
    # Lone surrogates, which JSON may have, are no characters.
    if "\0" in file_name or file_name.encode(errors="ignore").decode() != file_name:
        raise UserError(f"{directory}: no file there can have the name {short(file_name)}")
    path = Path(os.path.join(directory, file_name))
    is_url = "://" in file_name
    if not is_url and os.path.isfile(path) and name_below(path, directory) is not None:
        return path
    for tail in _tails(file_name):
        place = Path(os.path.join(directory, tail))
        if os.path.isfile(place) and name_below(place, directory) is not None:
            return place
    if is_url:
        raise UserError(f"{short(file_name)}: is a URL, expected the name of a file below {directory}; download it")
    for place in (path, Path(os.path.join(directory, file_name.replace("\\", "/")))):
        if name_below(place, directory) is None:
            raise UserError(
                f"{short(str(place))}: is not below the folder {directory}; name a folder that has all images"
            )
    if not os.path.isfile(path) and os.path.exists(path):
        raise UserError(f"{short(str(path))}: is no regular file, expected an image")
    return path


def name_below(path: Path, directory: str | os.PathLike[str]) -> str | None:
    """A path as seen from a folder, with ``/`` between its parts; None if it does not lie below."""
    place = Path(os.path.abspath(path))
    # The second, which asks the file system for every folder on the way, is for absolute names alone.
    for start in (os.path.abspath, os.path.realpath):
        if place.is_relative_to(root := start(directory)):
            return place.relative_to(root).as_posix()
    return None


def _tails(file_name: str) -> Iterator[str]:
    """Other names under which the file of an image may be found, the likeliest first: none leads out of a folder."""
    if "://" in file_name:
        file_name = file_name.split("://", 1)[1].split("?", 1)[0]
    for name in dict.fromkeys((file_name, file_name.replace("\\", "/"), unquote(file_name).replace("\\", "/"))):
        if "\0" in name:
            continue
        parts = [part for part in name.split("/") if part not in ("", ".")]
        # A name that leads up from a folder is meant for there, or for no good.
        if ".." in parts:
            continue
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            stem, ending = os.path.splitext(tail)
            yield from dict.fromkeys((tail, stem + ending.lower(), stem + ending.upper()))


def is_there(directory: str | os.PathLike[str], image: CocoImage) -> bool:
    """Whether :func:`read_annotated` finds a file of the image."""
    try:
        return os.path.isfile(locate(directory, image.file_name))
    except UserError:
        return False


def require_files(
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    annotations: str | os.PathLike[str],
    option: str = "--data-root",
) -> None:
    """Raise a UserError unless the file of every image listed in ``annotations`` is below ``directory``.

    How many lie elsewhere than their names say is printed to standard error; no two names may lead to one file.
    ``option`` is the one of the command line that names the folder.
    """
    places = [locate(directory, image.file_name) for image in images]
    missing = [image.file_name for image, path in zip(images, places, strict=True) if not os.path.isfile(path)]
    if missing:
        raise UserError(
            f"{directory}: {len(missing)} of the {len(images)} files for the images of {annotations} are missing, "
            f"the first is {short(missing[0])}; check {option}"
        )
    elsewhere: dict[Path, str] = {}
    for image, path in zip(images, places, strict=True):
        named = Path(os.path.join(directory, image.file_name.replace("\\", "/")))
        if path != named and (other := elsewhere.setdefault(path, image.file_name)) != image.file_name:
            raise UserError(
                f"{path}: {short(other)} and {short(image.file_name)} of {annotations} both lead to this file; name a "
                "folder in which the files lie as the annotations say"
            )
    if elsewhere:
        path, name = next(iter(elsewhere.items()))
        say(
            f"{annotations}: mended: {len(elsewhere)} file names that lead elsewhere, the first is {short(name)} "
            f"(found as {path})"
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
            f"{another_size(path, pixels.shape[:2], image)}; annotate the picture as it is shown, or scale one to the "
            "other"
        )
    return pixels


def another_size(path: Path, shape: Sequence[int], image: CocoImage) -> str:
    """What is said of a picture of this (height, width) that was annotated at another size."""
    found = f"{shape[0]}x{shape[1]} (height x width, upright by its EXIF orientation)"
    return f"{path}: is {found}, but was annotated at {image.height}x{image.width}"
