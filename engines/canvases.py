"""The few padded sizes that an engine prefers for images of many sizes."""

from collections.abc import Iterable
from dataclasses import dataclass

from refinemask.config import STRIDE
from refinemask.contract import Bounds, InputError
from refinemask.files import UserError

Size = tuple[int, int]
"""(height, width) of padded images in pixels, multiples of 32."""


@dataclass(frozen=True, kw_only=True)
class Canvases:
    """The padded sizes that code was compiled for, and the number of images.

    Raises:
        UserError: there is no size, a size is no multiple of 32 or comes twice, or the batch holds no image.
    """

    batch: int
    """Number of images of a full batch; fewer are filled up."""
    sizes: tuple[Size, ...]
    """Sizes of the padded images."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError(f"--batch {self.batch}: expected at least one image")
        if not self.sizes or len(set(self.sizes)) < len(self.sizes):
            raise UserError(f"canvases {_names(self.sizes)}: expected one size or several different ones")
        for size in self.sizes:
            if any(side < STRIDE or side % STRIDE for side in size):
                raise UserError(f"canvas {_names([size])}: expected multiples of {STRIDE}, such as 800x1344")

    @property
    def smallest_batch(self) -> int:
        """The smallest number of images that are taken: the engine itself fills up a batch."""
        return 1

    @property
    def typical_batch(self) -> int:
        """The number of images of a full batch."""
        return self.batch

    @property
    def bounds(self) -> Bounds:
        """The batches and sizes among which these lie; the first canvas is the typical one."""
        heights, widths = zip(*self.sizes, strict=True)
        return Bounds(
            batch=(1, self.batch, self.batch),
            height=(min(heights), heights[0], max(heights)),
            width=(min(widths), widths[0], max(widths)),
        )

    def canvas(self, height: int, width: int) -> Size:
        """The padded (height, width) for an image of ``height`` × ``width`` pixels.

        This is the smallest canvas that holds the image, or else the one for which it must be shrunk least.
        """
        held = self.holding(height, width)
        return held or max(self.sizes, key=lambda size: min(size[0] / height, size[1] / width))

    def holding(self, height: int, width: int) -> Size | None:
        """The smallest canvas that holds an image of ``height`` × ``width`` pixels; None if none does."""
        fitting = [size for size in self.sizes if size[0] >= height and size[1] >= width]
        return min(fitting, key=lambda size: size[0] * size[1], default=None)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`InputError` unless images of ``shape`` [B, 3, H, W] fill a canvas and are no more than a batch.

        ``canvas`` and ``check`` are those of :class:`refinemask.contract.Bounds`.
        """
        if shape[0] > self.batch:
            raise InputError(
                f"{shape[0]} images in a batch, but this engine was compiled for up to {self.batch}: split the batch, "
                "or compile for more (python -m engines.build --batch)"
            )
        if tuple(shape[2:]) not in self.sizes:
            raise InputError(
                f"images are padded to {_names([(shape[2], shape[3])])}, but this engine was compiled for "
                f"{_names(self.sizes)}: pad to one of these, or compile for others (python -m engines.build --canvases)"
            )


def _names(sizes: Iterable[Size]) -> str:
    return ", ".join(f"{height}x{width}" for height, width in sizes)
