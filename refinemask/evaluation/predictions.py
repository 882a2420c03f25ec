"""Running a detector over a data set, its predictions kept on disk."""

import json
import os
from collections.abc import Mapping, Sequence

from tqdm import tqdm, trange

from refinemask.data.annotated import locate, read_annotated
from refinemask.data.coco import CocoImage
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.files import UserError, atomic_write, sha256
from refinemask.prediction import Predictor
from refinemask.structures import Result
from refinemask.tiled_prediction import predict_in_tiles
from refinemask.tiling import Tiling


def predict_dataset(
    predictor: Predictor,
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    predictions: PredictionFile,
    *,
    batch_size: int = 1,
    tiling: Tiling | None = None,
) -> list[str]:
    """Predict the images that ``predictions`` does not hold yet, and append their results.

    One batch is in memory at a time.

    Args:
        predictor: the detector.
        images: the images to predict.
        directory: folder of the images' files.
        predictions: file that takes the results.
        batch_size: images, or tiles of a large image, per batch.
        tiling: tiles in which larger images are predicted; None leaves every image whole.

    Returns:
        The reason for each image that was skipped, because its file cannot be read or is not the annotated picture.

    Raises:
        UserError: ``predictions`` holds results of other pictures or cannot be written, or the detector gives no
            finite numbers.
    """
    require_same_pictures(predictions, images, directory)
    skipped = []
    window = predictor.config.preprocessing.window
    pending = [image for image in images if image.id not in predictions]
    for start in trange(0, len(pending), batch_size, desc="predicting", unit="batch", disable=None):
        batch = []
        for image in pending[start : start + batch_size]:
            try:
                batch.append((image, read_annotated(directory, image, window), _identity(directory, image)))
            except UserError as error:
                skipped.append(str(error))
        if batch:
            images_read = [pixels for _, pixels, _ in batch]
            found = predict_in_tiles(predictor, images_read, tiling=tiling, batch_size=batch_size)
            for (image, _, picture), prediction in zip(batch, found, strict=True):
                predictions.append(image.id, prediction.to_coco(), picture)
    return skipped


def _identity(directory: str | os.PathLike[str], image: CocoImage) -> str:
    """SHA-256 of an image's file; raises a UserError if it has vanished meanwhile."""
    path = locate(directory, image.file_name)
    try:
        return sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


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
