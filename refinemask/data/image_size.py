"""The size of a picture, from the header of its file."""

import os

from PIL import ExifTags, Image

from refinemask.files import UserError
from refinemask.readable import require_readable

_SIDES = (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength)
_TURNED = {5, 6, 7, 8}
"""EXIF's numbers of orientations that exchange height and width."""


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width in pixels of the picture as :func:`refinemask.data.images.read_image` gives it: upright.

    Only the header is read, so a file that is cut short or damaged behind it still has a size.

    Raises:
        UserError: the file cannot be read, is no image, or is too large to decode safely.
    """
    require_readable(path)
    try:
        with Image.open(path) as picture:
            # Some versions of Pillow turn the size of a TIFF, too, but never its tags.
            tags = getattr(picture, "tag_v2", {})
            width, height = (tags.get(number, side) for number, side in zip(_SIDES, picture.size, strict=True))
            # Pillow would decode a whole PNG to look for EXIF data behind the pixels.
            known = picture.format != "PNG" or "exif" in picture.info
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1) if known else 1
    except Exception as error:  # Pillow's readers raise a dozen kinds.
        raise UserError(f"{path}: no image that can be read: {' '.join(str(error).split())}") from error
    return (width, height) if orientation in _TURNED else (height, width)
