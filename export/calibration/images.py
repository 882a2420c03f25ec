"""Which images are calibrated on, and which are compared on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinemask.agreement import NUM_IMAGES
from refinemask.config import Window
from refinemask.data.annotated import locate
from refinemask.data.coco import read_coco
from refinemask.data.images import decode_image, images_of, read_bytes, read_image
from refinemask.files import UserError

Image = NDArray[np.uint8]
"""[H, W, 3] RGB."""


@dataclass(frozen=True)
class Choice:
    """Images of a directory, all of which can be read."""

    calibration: tuple[Path, ...]
    """The images to calibrate on."""
    held_out: tuple[Path, ...]
    """Others to compare on; where there are none, some of the same."""
    sha256: str
    """SHA-256 of the contents of the files to calibrate on."""
    window: Window | None
    """How images of more than 8 bits become ones of 8."""

    def read(self, path: Path) -> Image:
        """Decode one of the images as the model sees it.

        Raises:
            UserError: it cannot be read any more.
        """
        return read_image(path, self.window)


def choose_images(directory: Path, annotations: Path | None, count: int, window: Window | None = None) -> Choice:
    """Choose ``count`` images to calibrate on and others to compare on, both spread evenly over all that there are.

    Args:
        directory: directory with images, all below which are meant unless there are annotations.
        annotations: COCO annotations, whose images alone are meant.
        count: number of images to calibrate on; fewer where there are not so many.
        window: the model's window, for images of more than 8 bits.

    Raises:
        UserError: there are no images, or one that was chosen cannot be read.
    """
    if annotations is None:
        paths = images_of(directory, recursive=True)
    else:
        paths = [locate(directory, image.file_name) for image in read_coco(annotations).images]
    if not paths:
        raise UserError(f"{annotations}: lists no images to calibrate on")
    chosen = spread(len(paths), count)
    others = sorted(set(range(len(paths))) - set(chosen)) or chosen
    calibration = tuple(paths[index] for index in chosen)
    held_out = tuple(paths[others[index]] for index in spread(len(others), NUM_IMAGES))
    return Choice(calibration, held_out, _require_images((*calibration, *held_out), len(calibration), window), window)


def spread(total: int, count: int) -> list[int]:
    """Up to ``count`` of the numbers below ``total``, spread evenly."""
    return sorted({round(position) for position in np.linspace(0, total - 1, min(count, total))})


def _require_images(paths: Sequence[Path], hashed: int, window: Window | None) -> str:
    """Decode the images one after another, before a long run, and return the SHA-256 of the first ``hashed`` files."""
    digest = hashlib.sha256()
    for number, path in enumerate(paths):
        content = read_bytes(path)
        decode_image(path, content, window)
        if number < hashed:
            digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
