"""Average precision of a detector that is still being trained, measured by all processes together."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module

from refinemask.config import ModelConfig
from refinemask.data.coco import CocoDataset
from refinemask.data.images import read_image
from refinemask.data.lvis import LvisDataset
from refinemask.distributed import gather, world
from refinemask.evaluation.coco import evaluate_coco
from refinemask.evaluation.lvis import evaluate_lvis
from refinemask.evaluation.predictions import Result, predict
from refinemask.modeling.detector import Detector
from refinemask.structures import Detections

Figures = dict[str, dict[str, float]]
"""Average precisions by kind of overlap (bbox, segm, boundary), then by name."""


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
) -> tuple[Figures, dict[int, list[Result]]]:
    """Predict every image once, each process its share, and score the whole in every process.

    Returns:
        The figures, and the results by image id.

    Raises:
        UserError: an image cannot be read.
    """
    rank, size = world()
    predictor = LivePredictor(detector, device)
    own: dict[int, list[Result]] = {}
    with _evaluating(detector):
        for image in dataset.images[rank::size]:
            pixels = read_image(Path(image_dir) / image.file_name)
            own[image.id] = [{"image_id": image.id, **result} for result in predict(predictor, [pixels])[0]]
    results = {image_id: found for part in gather(own) for image_id, found in part.items()}
    if isinstance(dataset, LvisDataset):
        return {"segm": evaluate_lvis(dataset, results)}, results
    return evaluate_coco(dataset, results), results


@contextmanager
def _evaluating(module: Module) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
