"""Images of a source that are no frames: files, arrays, PIL images, bytes of a file. Imports no PyTorch."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinemask.config import Window
from refinemask.data.images import decode_image, read_image
from refinemask.files import UserError
from refinemask.sources.item import Video
from refinemask.sources.pixels import rgb_of_array, rgb_of_pil


@dataclass(frozen=True)
class ImageFile:
    """An image file; see :class:`refinemask.sources.item.Item`."""

    path: Path
    place: PurePosixPath
    video = index = seconds = None

    @property
    def name(self) -> str:
        return str(self.path)

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        return read_image(self.path, window)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in memory; see :class:`refinemask.sources.item.Item`."""

    name: str
    pixels: NDArray[np.generic] | Image.Image
    """An array as :func:`refinemask.sources.pixels.rgb_of_array` takes it, or a PIL image that is upright already."""
    place: PurePosixPath
    path = video = index = seconds = None

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        if isinstance(self.pixels, Image.Image):
            return rgb_of_pil(self.name, self.pixels, window)
        return rgb_of_array(self.name, self.pixels, window)


@dataclass(frozen=True)
class EncodedImage:
    """The bytes of an image file; see :class:`refinemask.sources.item.Item`."""

    name: str
    data: bytes
    place: PurePosixPath
    path = video = index = seconds = None

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        return decode_image(self.name, self.data, window)


@dataclass(frozen=True, eq=False)
class Unreadable:
    """What was given and cannot be used; see :class:`refinemask.sources.item.Item`."""

    name: str
    error: UserError
    """What ``read`` raises."""
    place: PurePosixPath
    path: Path | None = None
    video: Video | None = None
    index: int | None = None
    seconds: float | None = None

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        raise self.error
