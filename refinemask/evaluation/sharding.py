"""Predictions of a data set by the processes that ``torchrun`` started, or by this process alone."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from refinemask.data.coco import CocoImage
from refinemask.distributed import gather, world
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.evaluation.predictions import predict_dataset, require_same_pictures
from refinemask.prediction import Predictor
from refinemask.streaming.plan import StreamOptions
from refinemask.structures import Result


@contextmanager
def predict_shares(
    predictor: Predictor,
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    path: Path,
    source: Mapping[str, str],
    options: StreamOptions | None = None,
) -> Iterator[tuple[Mapping[int, Sequence[Result]], list[str]]]:
    """Predict like ``predict_dataset``, but each image in one process.

    Each process has a file of its own beside ``path``, from which it goes on when it was interrupted.

    Args:
        predictor: the detector.
        images: the images to predict.
        directory: folder of the images' files.
        path: the file that holds all predictions in the end; the first process writes it.
        source: what the predictions depend on.
        options: batch size, threads and tiles.

    Yields:
        In every process the results of all ``images`` by image id, and the reasons why images were skipped.
    """
    rank, size = world()
    ids = [image.id for image in images]
    if size == 1:
        with PredictionFile(path, source) as predictions:
            skipped = predict_dataset(predictor, images, directory, predictions, options)
            predictions.restrict(ids)
            yield predictions, skipped
        return
    with PredictionFile(path.with_name(f"{path.name}.{rank + 1}-of-{size}"), source) as own:
        skipped = predict_dataset(predictor, images[rank::size], directory, own, options)
        own.restrict(ids)
        shares = gather({image_id: (results, own.picture(image_id)) for image_id, results in own.items()})
        merged = {image_id: found for share in shares for image_id, found in share.items()}
        skipped = [reason for reasons in gather(skipped) for reason in reasons]
    if rank > 0:
        yield {image_id: results for image_id, (results, _) in merged.items()}, skipped
        return
    with PredictionFile(path, source) as predictions:
        require_same_pictures(predictions, images, directory)
        for image_id in sorted(merged.keys() - predictions.keys()):
            results, picture = merged[image_id]
            predictions.append(image_id, results, picture)
        predictions.restrict(ids)
        yield predictions, skipped
