"""The batches and image sizes that an exported file accepts."""

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

from torch.export import Dim

from refinemask.config import Preprocessing
from refinemask.data.transforms import STRIDE
from refinemask.files import UserError

Limits = tuple[int, int, int]
"""Smallest, typical and largest."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of an export; equal ones make it static.

    Raises:
        UserError: limits are out of order, or a height or width is no multiple of 32.
    """

    batch: Limits
    height: Limits
    """Of the padded images, in pixels."""
    width: Limits

    def __post_init__(self) -> None:
        for name, limits in dataclasses.asdict(self).items():
            if not 1 <= limits[0] <= limits[1] <= limits[2]:
                raise UserError(f"{name} limits {limits}: expected 1 <= smallest <= typical <= largest")
            if name != "batch" and any(limit % STRIDE for limit in limits):
                raise UserError(f"{name} limits {limits}: heights and widths are padded to multiples of {STRIDE}")

    def to_json(self) -> str:
        """As stored in the exported file's metadata."""
        return json.dumps(dataclasses.asdict(self))

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        """What may vary, as :func:`torch.export.export` wants it for ``images`` and ``image_sizes``."""
        sizes = {
            0: _dimension("batch", self.batch, 1),
            2: _dimension("height", self.height, STRIDE),
            3: _dimension("width", self.width, STRIDE),
        }
        images = {axis: size for axis, size in sizes.items() if size is not None}
        return {"images": images, "image_sizes": {axis: size for axis, size in images.items() if axis == 0}}


def _dimension(name: str, limits: Limits, step: int) -> Any:
    smallest, _, largest = limits
    if smallest == largest:
        return None
    return step * Dim(name, min=smallest // step, max=largest // step)


def default_sizes(preprocessing: Preprocessing) -> tuple[Limits, Limits]:
    """Height and width limits that hold every image after resizing, landscape being typical."""
    short, long = (-(-side // STRIDE) * STRIDE for side in (preprocessing.short_side, preprocessing.long_side))
    return (STRIDE, short, long), (STRIDE, long, long)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of ``HxW``."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UserError(f"size {text!r}: expected HEIGHTxWIDTH in pixels, such as 800x1344")
    return int(match[1]), int(match[2])
