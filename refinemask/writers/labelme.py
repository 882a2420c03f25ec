"""labelme's files: one JSON for each image, masks as polygons, to be corrected by hand.

They are what :mod:`refinemask.data.formats.labelme` reads.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinemask.contours import require_tolerance
from refinemask.files import UserError
from refinemask.json_files import read_json
from refinemask.png import encode_png
from refinemask.prediction import Prediction
from refinemask.sources.item import Item
from refinemask.writers.naming import json_text
from refinemask.writers.own_files import OwnFiles
from refinemask.writers.writer import Writer

VERSION = "5.5.0"
"""Version of labelme whose form this is."""
MARK = "refinemask_sha256"
"""Key of the SHA-256 of all else in a file, by which it is known to be as it was written."""


class Labelme(Writer):
    """Writes ``FOLDER/PLACE.json`` for each image; of an image without a file, such as a frame, ``PLACE.png`` as well.

    Parts of an object have one ``group_id``. A shape has the ``score`` beside the usual fields. Objects without a pixel
    are left out. A file that was changed after it was written, or that another program wrote, is never replaced.
    """

    def __init__(self, folder: Path, tolerance: float = 0.0, inputs: Iterable[Path] | None = ()) -> None:
        """Prepare the folder, which may be that of the images.

        Args:
            folder: the output folder.
            tolerance: pixels by which polygons may leave the outlines of masks so that they have fewer corners.
            inputs: files that no output may replace; None if they are not known.

        Raises:
            UserError: the folder is a file, or the tolerance is no number from 0 on.
        """
        require_tolerance(tolerance)
        self._files = OwnFiles(folder, inputs)
        self._tolerance = tolerance

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> tuple[bytes, bytes | None]:
        """The JSON, and the picture if it has no file.

        Raises:
            UserError: a file would be replaced that somebody else made.
        """
        path = self._files.path(item, ".json")
        if path.exists() and not _is_as_written(path):
            raise UserError(f"{path}: was annotated or changed and is not replaced; give another folder for labelme")
        picture = None
        if item.path is None:
            picture = encode_png(pixels, str(self._files.path(item, ".png")))
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": _shapes(prediction, self._tolerance),
            "imagePath": _image_path(item, path),
            "imageData": None,
            "imageHeight": prediction.height,
            "imageWidth": prediction.width,
        }
        return json.dumps(content | {MARK: _digest(content)}).encode(), picture

    def write(self, item: Item, prediction: Prediction, rendered: tuple[bytes, bytes | None]) -> None:
        """Write the files.

        Raises:
            UserError: one cannot be written.
        """
        text, picture = rendered
        if picture is not None:
            self._files.write(self._files.path(item, ".png"), picture)
        self._files.write(self._files.path(item, ".json"), text)


def _shapes(prediction: Prediction, tolerance: float) -> list[dict[str, Any]]:
    rows = zip(prediction.class_names, prediction.scores.tolist(), prediction.polygons(tolerance), strict=True)
    return [
        {
            "label": name,
            "points": polygon.tolist(),
            "group_id": number if len(polygons) > 1 else None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "score": score,
        }
        for number, (name, score, polygons) in enumerate(rows, start=1)
        for polygon in polygons
    ]


def _image_path(item: Item, file: Path) -> str:
    """The image as seen from the folder of ``file``."""
    if item.path is None:
        return f"{json_text(item.place.name)}.png"
    image = Path(os.path.realpath(item.path.parent)) / item.path.name
    return json_text(Path(os.path.relpath(image, os.path.realpath(file.parent))).as_posix())


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _is_as_written(path: Path) -> bool:
    try:
        content = read_json(path, "labelme's shapes")
    except UserError:
        return False
    return isinstance(content, dict) and content.pop(MARK, None) == _digest(content)
