"""Running a detector over a data set, its predictions kept on disk."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import trange

from refinemask.data.annotated import read_annotated
from refinemask.data.coco import CocoImage
from refinemask.files import UserError, atomic_write
from refinemask.prediction import Predictor, predict
from refinemask.structures import Result


def predict_dataset(
    predictor: Predictor,
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    predictions: "PredictionFile",
    *,
    batch_size: int = 1,
) -> list[str]:
    """Predict the images that ``predictions`` does not hold yet, and append their results.

    One batch is in memory at a time.

    Args:
        predictor: the detector.
        images: the images to predict.
        directory: folder of the images' files.
        predictions: file that takes the results.
        batch_size: images per batch.

    Returns:
        The reason for each image that was skipped, because its file cannot be read or is not the annotated picture.
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
            for image_id, prediction in zip(pixels, predict(predictor, list(pixels.values())), strict=True):
                predictions.append(image_id, prediction.to_coco())
    return skipped


class PredictionFile(Mapping[int, list[Result]]):
    """Results by image id, one line of JSON per image, written as they come and read one at a time.

    Opening an existing file continues it, so a run that was interrupted loses at most one batch.
    """

    def __init__(self, path: str | os.PathLike[str], source: Mapping[str, str]) -> None:
        """Open or create the file.

        Args:
            path: the file.
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

    def close(self) -> None:
        """Close the file; it stays on disk."""
        self._file.close()

    def __enter__(self) -> "PredictionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def export_results(results: Mapping[int, Sequence[Result]], path: str | os.PathLike[str]) -> None:
    """Write the results of all images, by image id, as one COCO results file (a JSON list)."""
    with atomic_write(path) as temporary, open(temporary, "w") as file:
        separator = "["
        for image_id in sorted(results):
            for result in results[image_id]:
                file.write(separator + json.dumps(result))
                separator = ",\n"
        file.write("[]\n" if separator == "[" else "]\n")
