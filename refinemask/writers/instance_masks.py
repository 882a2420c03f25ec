"""Instance masks: PNG files of 16 bits in which every value is an object.

The layout is the one that :mod:`refinemask.data.formats.instance_masks` reads.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinemask.coco_strings import coco_runs
from refinemask.files import UserError, atomic_write
from refinemask.png import encode_png
from refinemask.prediction import Prediction
from refinemask.sources.item import Item
from refinemask.writers.own_files import OwnFiles
from refinemask.writers.writer import Writer

MOST_OBJECTS = 65_535
"""Objects of an image that 16 bits can number."""
CLASSES = "classes.txt"


class InstanceMasks(Writer):
    """Writes ``FOLDER/CLASS/PLACE.png`` for each class that was found in an image, and the classes' names.

    0 is background, and n is the n-th detection of the image, of all classes, best first. Where two of a class overlap,
    the pixel belongs to the better one. An image in which nothing was found gets an empty mask of the first class.

    The folder must be new or empty: in one that has masks, those of other runs would stay beside the new ones.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare the folder.

        Args:
            folder: the output folder, new or empty.

        Raises:
            UserError: the folder is a file or holds something.
        """
        self._files = OwnFiles(folder)
        if folder.is_dir() and any(os.scandir(folder)):
            raise UserError(f"{folder}: is not empty, and masks of two runs would mix; remove it, or give a new folder")
        self._named = False

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> dict[str, bytes]:
        """The PNG of each class that was found.

        Raises:
            UserError: there are too many objects, or a class cannot name a folder.
        """
        if len(prediction) > MOST_OBJECTS:
            raise UserError(f"{item.name}: has {len(prediction)} objects, expected at most {MOST_OBJECTS} for masks")
        names = prediction.config.class_names
        found = sorted(set(prediction.labels.tolist())) or [0]
        return {
            _folder_name(names[label]): encode_png(
                _label_map(prediction, np.flatnonzero(prediction.labels == label).tolist()), item.name
            )
            for label in found
        }

    def write(self, item: Item, prediction: Prediction, rendered: dict[str, bytes]) -> None:
        """Write the files.

        Raises:
            UserError: one cannot be written.
        """
        if not self._named:
            with atomic_write(self._files.folder / CLASSES) as temporary:
                temporary.write_text("".join(f"{name}\n" for name in prediction.config.class_names), encoding="utf-8")
            self._named = True
        for name, data in rendered.items():
            path = self._files.folder / name / item.place.parent / f"{item.place.name}.png"
            self._files.write(self._files.checked(path, item), data)


def _label_map(prediction: Prediction, indices: Iterable[int]) -> NDArray[np.uint16]:
    """The numbers [height, width] of detections, from their positions."""
    by_column = np.zeros(prediction.height * prediction.width, np.uint16)
    for index in sorted(indices, reverse=True):
        edges = coco_runs(prediction.rles[index]["counts"]).cumsum().tolist()
        for start, stop in zip(edges[0::2], edges[1::2], strict=False):
            by_column[start:stop] = index + 1
    return np.ascontiguousarray(by_column.reshape(prediction.width, prediction.height).T)


def _folder_name(name: str) -> str:
    if not name.strip() or name.startswith(".") or "/" in name or not name.isprintable():
        raise UserError(f"the class {name!r} cannot name a folder, as masks need; use another output")
    return name
