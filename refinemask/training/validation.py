"""Average precision of a detector that is still being trained, and pictures of what it finds."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module

from refinemask.config import ModelConfig, Window
from refinemask.data.annotated import read_annotated
from refinemask.data.coco import CocoDataset
from refinemask.evaluation.measurement import Measurement, measure
from refinemask.evaluation.metrics import Metric
from refinemask.files import UserError
from refinemask.float32 import float32_products
from refinemask.modeling.detector import Detector
from refinemask.phases import Phases, unmeasured
from refinemask.prediction import encode, predict
from refinemask.structures import ImageDetections

MOST_TRIED = 10
"""Number of images in a row that cannot be read before no other is tried."""


def require_some_readable(dataset: CocoDataset, image_dir: str | os.PathLike[str], window: Window | None) -> None:
    """Raise a UserError if the first images cannot be read, so that no epoch is spent before that shows."""
    tried, first = dataset.images[:MOST_TRIED], None
    for image in tried:
        try:
            read_annotated(image_dir, image, window)
        except UserError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise UserError(f"{dataset.path}: the first {len(tried)} images to evaluate on cannot be read, such as {first}")


class LivePredictor:
    """A detector in memory as a predictor."""

    name, precision = "PyTorch", "fp32"

    def __init__(self, detector: Detector, device: torch.device) -> None:
        self.config: ModelConfig = detector.config
        self._detector, self._device = detector, device

    @torch.inference_mode()
    def detect(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        scale_factors: NDArray[np.float32],
        image_shapes: Sequence[tuple[int, int]],
        *,
        phases: Phases = unmeasured,
    ) -> list[ImageDetections]:
        """The detections of each image of a padded batch, in pixels of the original images."""
        # Threads take turns in float32_products.
        with phases("engine"), float32_products(tf32=False):
            inputs = (torch.from_numpy(x).to(self._device) for x in (images, image_sizes))
            detections = self._detector(*inputs).numpy()
        with phases("paste"):
            return encode(detections, scale_factors, image_shapes)

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        """None, because a detector takes any size."""
        return None


def validate(
    detector: Detector,
    metric: Metric[Any],
    dataset: CocoDataset,
    image_dir: str | os.PathLike[str],
    device: torch.device,
) -> Measurement:
    """Measure the detector as it is, by all processes together.

    Raises:
        UserError: no image could be used.
    """
    with _evaluating(detector):
        return measure(LivePredictor(detector, device), metric, dataset, image_dir)


def draw_first(
    detector: Detector, dataset: CocoDataset, image_dir: str | os.PathLike[str], device: torch.device, count: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The ids of the first ``count`` images, and what the detector finds in each as an RGB picture [h, w, 3].

    An image that cannot be used is left out.
    """
    predictor = LivePredictor(detector, device)
    for image in dataset.images[:count]:
        try:
            pixels = read_annotated(image_dir, image, detector.config.preprocessing.window)
        except UserError:
            continue
        with _evaluating(detector):
            [prediction] = predict(predictor, [pixels])
        yield image.id, prediction.draw(pixels)


@contextmanager
def _evaluating(module: Module) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
