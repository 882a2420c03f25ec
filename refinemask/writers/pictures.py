"""Drawings: a PNG file for each image."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinemask.extras import needed_by
from refinemask.png import encode_png
from refinemask.prediction import DRAWN_SCORE, Prediction
from refinemask.sources.item import Item
from refinemask.writers.own_files import OwnFiles
from refinemask.writers.writer import Writer


def require_drawing() -> None:
    """Raise a UserError unless pictures can be drawn here."""
    with needed_by("drawing", otherwise="leave the pictures out with --no-draw"):
        import refinemask.drawing  # noqa: F401


class Pictures(Writer):
    """Writes ``FOLDER/PLACE.png`` for each image, with the folders of its place."""

    def __init__(self, folder: Path, min_score: float = DRAWN_SCORE, inputs: Iterable[Path] | None = ()) -> None:
        """Prepare the folder.

        Args:
            folder: the output folder.
            min_score: lowest score of a detection that is drawn.
            inputs: files that no drawing may replace; None if they are not known.

        Raises:
            UserError: the folder is a file, or a package that draws is missing.
        """
        require_drawing()
        self._files = OwnFiles(folder, inputs)
        self._min_score = min_score

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> bytes:
        """The PNG of the drawing.

        Raises:
            UserError: an image would be overwritten, or the drawing cannot be made.
        """
        path = self._files.path(item, ".png")
        return encode_png(prediction.draw(pixels, min_score=self._min_score), str(path))

    def write(self, item: Item, prediction: Prediction, rendered: bytes) -> None:
        """Write the file.

        Raises:
            UserError: it cannot be written.
        """
        self._files.write(self._files.path(item, ".png"), rendered)
