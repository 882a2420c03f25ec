"""The batches and image sizes that an exported file accepts.

Imports no PyTorch: a deployment machine without it runs engines too.
"""

import dataclasses
import json
import re
from dataclasses import dataclass

from refinemask.config import Preprocessing
from refinemask.data.transforms import STRIDE
from refinemask.files import UserError

Limits = tuple[int, int, int]
"""Smallest, typical and largest."""


class InputError(UserError, ValueError):
    """Images that do not fit the exported contract or the bounds of a file."""


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

    @classmethod
    def from_json(cls, text: str) -> "Bounds":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError, TypeError, AttributeError: the text is something else.
        """
        return cls(**{axis: tuple(limits) for axis, limits in json.loads(text).items()})

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) for an image of ``height`` × ``width`` pixels.

        The smallest accepted size that holds it. A static file has one size, to which the image will have to shrink.

        Raises:
            InputError: the image is larger than a dynamic file accepts.
        """
        if self.height[0] == self.height[2] and self.width[0] == self.width[2]:
            return self.height[0], self.width[0]
        padded = [-(-size // STRIDE) * STRIDE for size in (height, width)]
        for name, size, (_, _, largest) in zip(("height", "width"), padded, (self.height, self.width), strict=True):
            if size > largest:
                raise InputError(f"an image of {height}x{width} does not fit: this file takes a {name} up to {largest}")
        return max(padded[0], self.height[0]), max(padded[1], self.width[0])

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`InputError` unless images of ``shape`` [B, 3, H, W] lie within the bounds."""
        sizes = {"batch": shape[0], "height": shape[2], "width": shape[3]}
        for name, size in sizes.items():
            smallest, _, largest = getattr(self, name)
            if not smallest <= size <= largest:
                accepted = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
                raise InputError(
                    f"images have {name} {size}, but this file was exported for a {name} of {accepted}: "
                    "pad or split the batch, or export again with other bounds (python -m export.to_onnx --help)"
                )


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
