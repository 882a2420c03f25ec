"""Choosing the batches and sizes that an exported file accepts. Imports no PyTorch."""

from collections.abc import Sequence

from refinemask.config import Preprocessing
from refinemask.contract import Bounds, default_sizes
from refinemask.files import UserError

Size = tuple[int, int]
"""(height, width) of padded images in pixels, multiples of 32."""
BATCH = (1, 1, 8)
"""Smallest, typical and largest batch by default."""


def choose_bounds(
    preprocessing: Preprocessing,
    *,
    batch: Sequence[int] = BATCH,
    static: Size | None = None,
    smallest: Size | None = None,
    typical: Size | None = None,
    largest: Size | None = None,
) -> Bounds:
    """Bounds of the sizes asked for; the others follow from the preprocessing, so that every resized image fits.

    Args:
        preprocessing: the model's preprocessing.
        batch: smallest, typical and largest number of images; a single number fixes the batch.
        static: the one size of a static file.
        smallest: smallest size of a dynamic file.
        typical: size of a dynamic file that a TensorRT engine is tuned for.
        largest: largest size of a dynamic file.

    Raises:
        UserError: sizes contradict one another, or are no multiples of 32.
    """
    if static and (smallest or typical or largest):
        raise UserError(f"--static {static[0]}x{static[1]} fixes the size: leave out --min, --opt and --max")
    asked, defaults = (smallest, typical, largest), zip(*default_sizes(preprocessing), strict=True)
    sizes = [static or size or default for size, default in zip(asked, defaults, strict=True)]
    batch = tuple(batch) * 3 if len(batch) == 1 else tuple(batch)
    if len(batch) != 3:
        raise UserError(f"--batch {batch}: expected one number, or smallest, typical and largest")
    height, width = zip(*sizes, strict=True)
    return Bounds(batch=batch, height=height, width=width)
