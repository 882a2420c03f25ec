"""A COCO data set of what was found, masks as polygons: a draft of annotations."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from refinemask.config import ModelConfig
from refinemask.contours import Polygon, require_tolerance
from refinemask.files import UserError, require_file
from refinemask.masks import RLE
from refinemask.prediction import Prediction
from refinemask.sources.item import Item
from refinemask.writers.naming import file_name, frame_of, json_text
from refinemask.writers.scratch import Scratch, complete
from refinemask.writers.writer import Writer


class CocoPolygons(Writer):
    """Writes the file when the block ends, however it ends; not at all if no image could be used.

    Annotations have a ``score`` beside the usual fields. Objects without a pixel are left out. Images have the numbers
    of the COCO results file. A frame is named as the picture that it would be: ``clip/000012.png``.
    """

    def __init__(self, path: Path, tolerance: float = 0.0) -> None:
        """Prepare the file.

        Args:
            path: the file to write.
            tolerance: pixels by which polygons may leave the outlines of masks so that they have fewer corners.

        Raises:
            UserError: something else than a file is there, or the tolerance is no number from 0 on.
        """
        require_tolerance(tolerance)
        require_file(path)
        self.path = path
        self._tolerance = tolerance
        self._config: ModelConfig | None = None
        self._number = self._objects = self._predicted = 0
        self._ends = 0, 0
        """Ends of the images and the annotations that belong together, whatever comes between the two."""

    def __enter__(self) -> "CocoPolygons":
        self._images, self._annotations = Scratch(), Scratch()
        return self

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> list[str]:
        """The JSON text of each annotation, but for the numbers of the annotation and the image."""
        polygons = prediction.polygons(self._tolerance)
        rows = zip(prediction.category_ids, prediction.scores.tolist(), prediction.rles, polygons, strict=True)
        return [json.dumps(_annotation(*row)) for row in rows if row[-1]]

    def write(self, item: Item, prediction: Prediction, rendered: list[str]) -> None:
        """Keep the annotations of an image.

        Raises:
            UserError: the disk is full or gone.
        """
        self._config = prediction.config
        self._number += 1
        named = {"id": self._number, "file_name": _file_name(item)}
        size = {"height": prediction.height, "width": prediction.width}
        first = self._objects + 1
        self._annotations.append(
            f'{{"id": {number}, "image_id": {self._number}, {text[1:]}' for number, text in enumerate(rendered, first)
        )
        self._objects += len(rendered)
        self._images.append([json.dumps(named | size | frame_of(item))])
        self._ends = self._images.end, self._annotations.end
        self._predicted += 1

    def fail(self, item: Item, error: UserError) -> None:
        """Leave out the number of the image."""
        self._number += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the file."""
        try:
            if self._predicted:
                complete(self.path, self._copy, self._predicted)
        finally:
            self._images.close()
            self._annotations.close()

    def _copy(self, file: BinaryIO) -> None:
        assert self._config is not None
        pairs = zip(self._config.category_ids, self._config.class_names, strict=True)
        file.write(b'{"categories": ' + json.dumps([{"id": number, "name": name} for number, name in pairs]).encode())
        file.write(b',\n"images": ')
        self._images.copy_to(file, self._ends[0])
        file.write(b',\n"annotations": ')
        self._annotations.copy_to(file, self._ends[1])
        file.write(b"}\n")


def _annotation(category_id: int, score: float, rle: RLE, polygons: list[Polygon]) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    corners = np.concatenate(polygons)
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return {
        "category_id": category_id,
        "segmentation": [polygon.ravel().tolist() for polygon in polygons],
        "area": int(coco_mask.area(rle)),
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
        "score": score,
    }


def _file_name(item: Item) -> str:
    return file_name(item) if item.path is not None else json_text(f"{item.place.as_posix()}.png")
