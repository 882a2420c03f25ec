"""The dimensions of a graph's inputs that may vary."""

from typing import Any

from torch.export import Dim

from refinemask.config import STRIDE
from refinemask.contract import Bounds, Limits


def dynamic_shapes(bounds: Bounds) -> dict[str, dict[int, Any]]:
    """The dimensions of the two inputs that may vary within the bounds, as :func:`torch.export.export` wants them."""
    sizes = {
        0: _dimension("batch", bounds.batch, 1),
        2: _dimension("height", bounds.height, STRIDE),
        3: _dimension("width", bounds.width, STRIDE),
    }
    images = {axis: size for axis, size in sizes.items() if size is not None}
    return {"images": images, "image_sizes": {axis: size for axis, size in images.items() if axis == 0}}


def _dimension(name: str, limits: Limits, step: int) -> Any:
    smallest, _, largest = limits
    if smallest == largest:
        return None
    return step * Dim(name, min=smallest // step, max=largest // step)
