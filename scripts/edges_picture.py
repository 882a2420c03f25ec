"""Draw one object's mask by several models side by side, enlarged, so that the edges can be compared.

python scripts/edges_picture.py PHOTO MODEL… --crop X Y WIDTH HEIGHT -o PICTURE
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

import engines
from refinemask.command import execute
from refinemask.data.images import read_image
from refinemask.files import UserError, atomic_write
from refinemask.prediction import DRAWN_SCORE, Prediction
from refinemask.spelling import Output

PANEL_WIDTH = 640
"""Width of each model's panel in pixels."""
GAP = 8
"""White pixels between panels."""
COLOUR = np.array([255, 64, 160], np.float32)
OPACITY = 0.3


@dataclass(frozen=True, kw_only=True)
class Args:
    """Draw the largest object in a part of a photograph, once for each model."""

    photo: Annotated[Path, tyro.conf.Positional]
    """The photograph."""
    models: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL…")]
    """Checkpoints and exported files, from left to right."""
    crop: tuple[int, int, int, int]
    """The part that is shown: left, top, width and height in pixels of the photograph."""
    output: Output
    """The picture to write."""


def main(args: Args | None = None) -> int:
    """Write the picture; 2 for bad input."""
    return execute(Args, _draw, args, __doc__)


def _draw(args: Args) -> None:
    image = read_image(args.photo)
    panels = []
    for path in args.models:
        [result] = engines.load(path).predict([args.photo])
        mask = _largest_mask(result, args.crop, path)
        panels += [_panel(image, mask, args.crop), np.full((_height(args.crop), GAP, 3), 255, np.uint8)]
    with atomic_write(args.output) as file:
        Image.fromarray(np.hstack(panels[:-1])).save(file)
    print(f"{len(args.models)} models: {args.output}")


def _height(crop: tuple[int, int, int, int]) -> int:
    return round(PANEL_WIDTH * crop[3] / crop[2])


def _largest_mask(result: Prediction, crop: tuple[int, int, int, int], path: Path) -> NDArray[np.bool_]:
    """The mask of the sure object that fills most of the crop."""
    left, top, width, height = crop
    masks = result.masks()[result.scores >= DRAWN_SCORE]
    pixels = masks[:, top : top + height, left : left + width].sum(axis=(1, 2))
    if not pixels.any():
        raise UserError(f"{path}: finds nothing in {crop} of {result.path}; choose another --crop")
    return masks[pixels.argmax()]


def _panel(image: NDArray[np.uint8], mask: NDArray[np.bool_], crop: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    left, top, width, height = crop
    window = slice(top, top + height), slice(left, left + width)
    size = PANEL_WIDTH, _height(crop)
    photo = cv2.resize(image[window], size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    inside = cv2.resize(mask[window].view(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR) >= 128
    photo[inside] += OPACITY * (COLOUR - photo[inside])
    outlines, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = cv2.drawContours(photo.round().astype(np.uint8), outlines, -1, COLOUR.tolist(), 2, cv2.LINE_AA)
    return drawn.astype(np.uint8, copy=False)


if __name__ == "__main__":
    raise SystemExit(main())
