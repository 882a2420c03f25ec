"""What every kind of output has in common. Imports no PyTorch."""

from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from refinemask.files import UserError
from refinemask.prediction import Prediction
from refinemask.sources.item import Item

Self = TypeVar("Self", bound="Writer")


class Writer(Protocol):
    """One kind of output of a stream of predictions, open within a ``with`` block.

    For every image one of :meth:`write` and :meth:`fail` is called, in the order of the images and in one thread. So a
    writer can number the images by counting.
    """

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> Any:
        """What :meth:`write` takes of an image. Several threads call this at once, in any order.

        Args:
            item: the image.
            prediction: what was found in it.
            pixels: the image, [h, w, 3] uint8 RGB.

        Raises:
            UserError: nothing can be made of this image; the others go on.
        """

    def write(self, item: Item, prediction: Prediction, rendered: Any) -> None:
        """Write what was rendered. One thread calls this, image by image in their order.

        Raises:
            UserError: the output cannot be written.
        """

    def fail(self, item: Item, error: UserError) -> None:
        """Take notice of an image that could not be read, predicted or rendered; most outputs have nothing to say.

        Raises:
            UserError: the output cannot be written.
        """
        return

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the output with what was written until now, whatever ended the block. No half a file is left."""
        return
