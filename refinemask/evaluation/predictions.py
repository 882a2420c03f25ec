"""Running a detector over a data set, its predictions kept on disk."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refinemask.config import Window
from refinemask.data.annotated import locate, read_annotated
from refinemask.data.coco import CocoImage
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.files import UserError, atomic_write, sha256
from refinemask.prediction import Predictor
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.progress import with_progress
from refinemask.streaming.stream import stream
from refinemask.structures import Result


class _AnnotatedItem:
    """An image of a data set in a pipeline."""

    video = index = seconds = None

    def __init__(self, directory: str | os.PathLike[str], image: CocoImage) -> None:
        self.image = image
        self.picture = ""
        """SHA-256 of the file, once it was read."""
        self._directory = directory

    @property
    def path(self) -> Path:
        return locate(self._directory, self.image.file_name)

    @property
    def name(self) -> str:
        return self.image.file_name

    @property
    def place(self) -> PurePosixPath:
        return PurePosixPath(str(self.image.id))

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        pixels = read_annotated(self._directory, self.image, window)
        try:
            self.picture = sha256(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from error
        return pixels


def predict_dataset(
    predictor: Predictor,
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    predictions: PredictionFile,
    options: StreamOptions | None = None,
) -> list[str]:
    """Predict the images that ``predictions`` does not hold yet, and append their results as they come.

    Args:
        predictor: the detector.
        images: the images to predict.
        directory: folder of the images' files.
        predictions: file that takes the results.
        options: batch size, threads and tiles.

    Returns:
        The reason for each image that was skipped, because its file cannot be read or is not the annotated picture.

    Raises:
        UserError: ``predictions`` holds results of other pictures or cannot be written, or the detector fails or gives
            no finite numbers.
    """
    require_same_pictures(predictions, images, directory)
    skipped = []
    pending = [_AnnotatedItem(directory, image) for image in images if image.id not in predictions]
    pipeline = stream(predictor, pending, options)
    with closing(with_progress(pipeline, len(pending))) as results:
        for item, result in zip(pending, results, strict=True):
            if result.prediction is not None:
                predictions.append(item.image.id, result.prediction.to_coco(), item.picture)
            elif result.error is not None and result.was_read:
                raise result.error
            else:
                skipped.append(str(result.error))
    return skipped


def require_same_pictures(
    predictions: PredictionFile, images: Sequence[CocoImage], directory: str | os.PathLike[str]
) -> None:
    """Raise a UserError if the file of an image is not the one that it was predicted from.

    A file that is not there any more says nothing.
    """
    kept = [image for image in images if image.id in predictions]
    for image in tqdm(kept, "comparing pictures", leave=False, disable=None if kept else True):
        path = locate(directory, image.file_name)
        if os.path.isfile(path) and sha256(path) != predictions.picture(image.id):
            raise UserError(
                f"{predictions.path}: holds predictions of other pictures: {path} is not the file that was predicted; "
                "name another file for the predictions"
            )


def export_results(results: Mapping[int, Sequence[Result]], path: str | os.PathLike[str]) -> None:
    """Write the results of all images, by image id, as one COCO results file (a JSON list)."""
    with atomic_write(path) as temporary, open(temporary, "w") as file:
        separator = "["
        for image_id in sorted(results):
            for result in results[image_id]:
                file.write(separator + json.dumps(result))
                separator = ",\n"
        file.write("[]\n" if separator == "[" else "]\n")
