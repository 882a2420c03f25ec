"""Images that Python code gives: paths, arrays and PIL images. Imports no PyTorch."""

import os
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.sources.images import ImageFile, Picture, Unreadable
from refinemask.sources.item import Item
from refinemask.sources.places import Places

ImageSource = str | os.PathLike[str] | NDArray[np.generic] | Image.Image
"""An image file, a PIL image, or an array [h, w, 3] uint8 RGB; :func:`refinemask.sources.pixels.rgb_of_array` takes
others too."""


class GivenImages:
    """Images of an iterable, such as a list or a generator, each taken when it is asked for.

    Arrays and PIL images are copied as they are taken, because images are read ahead, and whoever gives them may use
    a buffer again. See :class:`refinemask.sources.source.Source`; a generator that waits is not interrupted.

    Args:
        images: paths of image files, PIL images, and arrays as :func:`refinemask.sources.pixels.rgb_of_array` takes
            them.

    Raises:
        UserError: one path or array was given instead of a list.
    """

    live = False
    dropped = 0
    paths = None

    def __init__(self, images: Iterable[object]) -> None:
        if isinstance(images, str | bytes | os.PathLike):
            raise UserError(f"{os.fsdecode(images)}: expected a list of images, found one path; write [path]")
        if isinstance(images, np.ndarray) and images.ndim == 3:
            raise InputError(f"expected a list of images, found one array {list(images.shape)}; write [image]")
        if isinstance(images, Image.Image):
            raise InputError("expected a list of images, found one PIL image; write [image]")
        self.total = len(images) if isinstance(images, Sized) else None
        self._images = images
        self._closed = False

    def __iter__(self) -> Iterator[Item]:
        places = Places()
        folder: PurePosixPath | None = None
        for index, image in enumerate(self._images):
            if self._closed:
                return
            if isinstance(image, str | os.PathLike):
                path = Path(os.fsdecode(image))
                yield ImageFile(path, places.of_image(PurePosixPath(path.stem)))
            else:
                folder = folder or PurePosixPath(places.of_numbered("images"))
                yield _in_memory(f"image {index}", image, folder / f"{index:06d}")

    def close(self) -> None:
        self._closed = True


def _in_memory(name: str, image: object, place: PurePosixPath) -> Item:
    if isinstance(image, np.ndarray):
        return Picture(name, np.array(image), place)
    if isinstance(image, Image.Image):
        return _upright(name, image, place)
    found = type(image).__name__
    expected = "a path, or an array uint8 [h, w, 3] RGB, or a PIL image"
    return Unreadable(name, InputError(f"{name}: is a {found}; expected {expected}"), place)


def _upright(name: str, image: Image.Image, place: PurePosixPath) -> Item:
    try:
        # A copy, turned as the image's EXIF data say, which a plain copy would lose.
        return Picture(name, ImageOps.exif_transpose(image), place)
    except Exception as error:  # An image that was only opened is decoded now; Pillow's readers raise a dozen kinds.
        return Unreadable(name, UserError(f"{name}: cannot be decoded: {reason(error)}"), place)
