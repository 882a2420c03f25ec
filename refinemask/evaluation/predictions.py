"""Running a detector over a data set, its predictions kept on disk."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import trange

from refinemask.config import ModelConfig
from refinemask.data.annotated import read_annotated
from refinemask.data.coco import CocoImage
from refinemask.data.transforms import preprocess
from refinemask.files import UserError, atomic_write
from refinemask.masks import paste_rle
from refinemask.structures import Detections

Result = dict[str, Any]
"""An entry of COCO's results format: image_id, category_id, bbox (x, y, w, h), score, segmentation (RLE)."""


class Predictor(Protocol):
    """What an evaluation needs of a detector; every engine is one."""

    config: ModelConfig

    def infer(self, images: NDArray[np.uint8], image_sizes: NDArray[np.int64]) -> Detections:
        """NumPy detections of a padded batch, boxes in network-input pixels."""

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        """The fixed padded (height, width) for original images of these sizes; None is what the images need."""


def predict(predictor: Predictor, images: Sequence[NDArray[np.uint8]]) -> list[list[Result]]:
    """Detect the objects of decoded [h, w, 3] RGB images, in one batch.

    Returns:
        For each image its results, best first, in pixels of the original image; they lack ``image_id``.
    """
    shapes = [image.shape[:2] for image in images]
    batch = preprocess(images, predictor.config.preprocessing, predictor.canvas(shapes))
    detections = predictor.infer(batch.images, batch.image_sizes)
    return to_results(detections, batch.scale_factors, shapes, predictor.config.category_ids)


def to_results(
    detections: Detections,
    scale_factors: NDArray[np.float32],
    image_shapes: Sequence[tuple[int, int]],
    category_ids: Sequence[int],
) -> list[list[Result]]:
    """Detections of a batch in COCO's results format, without ``image_id``.

    The masks are pasted once, into the original image. ``bbox`` is part of an entry, as in the official result files.

    Args:
        detections: NumPy arrays, boxes in network-input pixels.
        scale_factors: [B, 4] (x, y, x, y) from the original image to the network's input.
        image_shapes: (height, width) of each original image.
        category_ids: the category id of each label.
    """
    results = []
    for index, (height, width) in enumerate(image_shapes):
        count = int(detections.num_detections[index])
        boxes = detections.boxes[index, :count] / scale_factors[index]
        rles = paste_rle(detections.masks[index, :count], boxes, height, width)
        rows = zip(
            detections.labels[index, :count].tolist(),
            boxes.tolist(),
            detections.scores[index, :count].tolist(),
            rles,
            strict=True,
        )
        results.append(
            [
                {
                    "category_id": category_ids[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                }
                for label, (x1, y1, x2, y2), score, rle in rows
            ]
        )
    return results


def predict_dataset(
    predictor: Predictor,
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    predictions: "PredictionFile",
    *,
    batch_size: int = 1,
) -> list[str]:
    """Predict the images that ``predictions`` does not hold yet, and append their results.

    Memory is that of one batch.

    Args:
        directory: where the images' files lie.

    Returns:
        For each image that was skipped, because its file cannot be read or is not the annotated picture, the reason.
    """
    skipped = []
    pending = [image for image in images if image.id not in predictions]
    for start in trange(0, len(pending), batch_size, desc="predicting", unit="batch", disable=None):
        pixels = {}
        for image in pending[start : start + batch_size]:
            try:
                pixels[image.id] = read_annotated(directory, image)
            except UserError as error:
                skipped.append(str(error))
        if pixels:
            for image_id, results in zip(pixels, predict(predictor, list(pixels.values())), strict=True):
                predictions.append(image_id, results)
    return skipped


class PredictionFile(Mapping[int, list[Result]]):
    """Results by image id, one line of JSON per image, written as they come and read one at a time.

    Opening an existing file continues it, so a run that was interrupted loses at most one batch.
    """

    def __init__(self, path: str | os.PathLike[str], source: Mapping[str, str]) -> None:
        """Open or create the file.

        Args:
            path: of the file.
            source: what the predictions depend on, such as hashes of the model and the annotations.

        Raises:
            UserError: the file is of another source or no prediction file, or cannot be written.
        """
        self.path = Path(path)
        self._offsets: dict[int, int] = {}
        header = json.dumps({"predictions": dict(source)}).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error
        self._file.seek(0)
        first = self._file.readline()
        if first == header:
            self._index()
        elif header.startswith(first):
            # New, or interrupted while the header was written.
            self._file.truncate(0)
            self._write(header)
        else:
            self._file.close()
            raise UserError(
                f"{path}: not predictions of this model on these annotations; delete the file or name another"
            )

    def _index(self) -> None:
        end = self._file.tell()
        for line in self._file:
            # An interrupted write leaves a last line without its end.
            if not line.endswith(b"\n"):
                break
            try:
                self._offsets[json.loads(line)["image_id"]] = end
            except (ValueError, LookupError, TypeError) as error:
                raise UserError(f"{self.path}: the line at byte {end} is damaged ({error}); delete the file") from error
            end += len(line)
        self._file.truncate(end)

    def append(self, image_id: int, results: Iterable[Result]) -> None:
        """Add the results of one image."""
        results = [{"image_id": image_id, **result} for result in results]
        line = json.dumps({"image_id": image_id, "results": results}).encode() + b"\n"
        self._offsets[image_id] = self._file.seek(0, os.SEEK_END)
        self._write(line)

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()

    def __getitem__(self, image_id: int) -> list[Result]:
        self._file.seek(self._offsets[image_id])
        return json.loads(self._file.readline())["results"]

    def __iter__(self) -> Iterator[int]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def restrict(self, image_ids: Iterable[int]) -> None:
        """From now on hold only the results of these images; the others stay in the file."""
        self._offsets = {image_id: self._offsets[image_id] for image_id in image_ids if image_id in self._offsets}

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write all results as one COCO results file (a JSON list)."""
        with atomic_write(path) as temporary, open(temporary, "w") as file:
            separator = "["
            for image_id in sorted(self):
                for result in self[image_id]:
                    file.write(separator + json.dumps(result))
                    separator = ",\n"
            file.write("[]\n" if separator == "[" else "]\n")

    def close(self) -> None:
        """Close the file; it stays on disk."""
        self._file.close()

    def __enter__(self) -> "PredictionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
