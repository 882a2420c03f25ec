"""Average precision of a detector that is still being trained, measured by all processes together."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module

from refinemask.config import ModelConfig
from refinemask.data.annotated import read_annotated
from refinemask.data.coco import CocoDataset
from refinemask.data.lvis import LvisDataset
from refinemask.distributed import gather, world
from refinemask.evaluation.coco import evaluate_coco
from refinemask.evaluation.lvis import evaluate_lvis
from refinemask.evaluation.predictions import Result, predict
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.structures import Detections

Figures = dict[str, dict[str, float]]
"""Average precisions by kind of overlap (bbox, segm, boundary), then by name."""


class Validation(NamedTuple):
    """What an evaluation found."""

    figures: Figures
    results: dict[int, list[Result]]
    """By image id."""
    skipped: list[str]
    """Why images were left out."""


class LivePredictor:
    """The detector as an evaluation wants it."""

    def __init__(self, detector: Detector, device: torch.device) -> None:
        self.config: ModelConfig = detector.config
        self._detector, self._device = detector, device

    @torch.inference_mode()
    def infer(self, images: NDArray[np.uint8], image_sizes: NDArray[np.int64]) -> Detections:
        """NumPy detections of a padded batch."""
        inputs = (torch.from_numpy(x).to(self._device) for x in (images, image_sizes))
        return self._detector(*inputs).numpy()

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        """Any size will do."""
        return None


def validate(
    detector: Detector, dataset: CocoDataset, image_dir: str | os.PathLike[str], device: torch.device
) -> Validation:
    """Predict every image once, each process its share, and score the whole in every process.

    An image that cannot be read, or is not the annotated picture, is left out of predictions and scores.

    Raises:
        UserError: no image is left.
    """
    rank, size = world()
    predictor = LivePredictor(detector, device)
    own: dict[int, list[Result]] = {}
    unread: list[str] = []
    with _evaluating(detector):
        for image in dataset.images[rank::size]:
            try:
                pixels = read_annotated(image_dir, image)
            except UserError as error:
                unread.append(str(error))
                continue
            own[image.id] = [{"image_id": image.id, **result} for result in predict(predictor, [pixels])[0]]
    results = {image_id: found for part in gather(own) for image_id, found in part.items()}
    skipped = list(chain.from_iterable(gather(unread)))
    if not results:
        raise UserError(f"{image_dir}: none of the {len(dataset.images)} images to evaluate on could be used")
    if isinstance(dataset, LvisDataset):
        return Validation({"segm": evaluate_lvis(dataset, results)}, results, skipped)
    return Validation(evaluate_coco(dataset, results), results, skipped)


@contextmanager
def _evaluating(module: Module) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
