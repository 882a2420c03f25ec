"""Predictions of a data set by the processes that ``torchrun`` started; alone, by this one."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from refinemask.data.coco import CocoImage
from refinemask.distributed import gather, world
from refinemask.evaluation.predictions import PredictionFile, Predictor, predict_dataset


def predict_shares(
    predictor: Predictor,
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    path: Path,
    source: Mapping[str, str],
    *,
    batch_size: int = 1,
) -> tuple[PredictionFile, list[str]]:
    """As ``predict_dataset``, each image by one process.

    Each process has a file of its own beside ``path``, from which it goes on when it was interrupted.

    Args:
        path: of the file that holds all predictions in the end; the first process writes it.
        source: what the predictions depend on.

    Returns:
        An open file, in the first process with the predictions of all; and the reasons why images were skipped.
    """
    rank, size = world()
    if size == 1:
        predictions = PredictionFile(path, source)
        return predictions, predict_dataset(predictor, images, directory, predictions, batch_size=batch_size)
    with ExitStack() as stack:
        own = stack.enter_context(PredictionFile(path.with_name(f"{path.name}.{rank + 1}-of-{size}"), source))
        skipped = predict_dataset(predictor, images[rank::size], directory, own, batch_size=batch_size)
        found = {image_id: results for part in gather(dict(own)) for image_id, results in part.items()}
        skipped = [reason for reasons in gather(skipped) for reason in reasons]
        if rank > 0:
            stack.pop_all()
            return own, skipped
    predictions = PredictionFile(path, source)
    for image_id in sorted(found.keys() - predictions.keys()):
        predictions.append(image_id, found[image_id])
    return predictions, skipped
