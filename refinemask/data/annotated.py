"""The image files that annotations belong to."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinemask.data.coco import CocoImage
from refinemask.data.images import read_image
from refinemask.files import UserError


def require_files(
    images: Sequence[CocoImage], directory: str | os.PathLike[str], annotations: str | os.PathLike[str]
) -> None:
    """Raise a UserError unless the file of every image listed in ``annotations`` is in ``directory``."""
    missing = [image.file_name for image in images if not (Path(directory) / image.file_name).is_file()]
    if missing:
        raise UserError(
            f"{directory}: {len(missing)} of the {len(images)} files for the images of {annotations} are missing, "
            f"the first is {missing[0]}; check --data-root"
        )


def read_annotated(directory: str | os.PathLike[str], image: CocoImage) -> NDArray[np.uint8]:
    """Decode an image in ``directory`` as [h, w, 3] RGB.

    Raises:
        UserError: the image cannot be read, or has another size than its annotations say.
    """
    path = Path(directory) / image.file_name
    pixels = read_image(path)
    if pixels.shape[:2] != (image.height, image.width):
        raise UserError(
            f"{path}: is {pixels.shape[0]}x{pixels.shape[1]} (height x width, upright by its EXIF orientation), "
            f"but was annotated at {image.height}x{image.width}"
        )
    return pixels
