"""A COCO results file: one JSON list of all detections, masks as run lengths."""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from refinemask.files import UserError, require_file
from refinemask.prediction import Prediction
from refinemask.sources.item import Item
from refinemask.writers.naming import file_name
from refinemask.writers.scratch import Scratch, complete
from refinemask.writers.writer import Writer


class CocoResults(Writer):
    """Writes ``results.json`` when the block ends, however it ends; not at all if no image could be used.

    ``image_id`` is the image's number from 1, of all that were given. A frame has the ``file_name`` of its video and
    ``frame``, its position there.
    """

    def __init__(self, path: Path, images: int | None = None) -> None:
        """Prepare the file.

        Args:
            path: the file to write.
            images: number of images that are given, where it is known; an interrupted run names it.

        Raises:
            UserError: something else than a file is there.
        """
        require_file(path)
        self.path = path
        self._given = images
        self._images = self._predicted = 0

    def __enter__(self) -> "CocoResults":
        self._scratch = Scratch()
        return self

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> list[str]:
        """The JSON text of each detection, but for the image's number."""
        named = {"file_name": file_name(item)} | ({} if item.video is None else {"frame": item.index})
        return [json.dumps(named | result) for result in prediction.to_coco()]

    def write(self, item: Item, prediction: Prediction, rendered: list[str]) -> None:
        """Keep the detections of an image.

        Raises:
            UserError: the disk is full or gone.
        """
        self._images += 1
        self._scratch.append(f'{{"image_id": {self._images}, {text[1:]}' for text in rendered)
        self._predicted += 1

    def fail(self, item: Item, error: UserError) -> None:
        """Leave out the number of the image."""
        self._images += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the file, and if the block was interrupted, say of how many images."""
        try:
            if self._predicted:
                complete(self.path, self._copy, self._predicted)
                if kind is not None:
                    of_all = "" if self._given is None else f" of {self._given}"
                    print(f"interrupted: {self._predicted}{of_all} images predicted: {self.path}", file=sys.stderr)
        finally:
            self._scratch.close()

    def _copy(self, file: BinaryIO) -> None:
        self._scratch.copy_to(file)
        file.write(b"\n")
