"""What every kind of output has in common. Imports no PyTorch."""

from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refinemask.prediction import Prediction
from refinemask.sources.item import Item


class Writer(Protocol):
    """One kind of output of a stream of predictions, open within a ``with`` block."""

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

    def __enter__(self) -> "Writer": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the output with what was written until now, whatever ended the block. No half a file is left."""
