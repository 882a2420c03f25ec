"""From image files to detections in COCO form with one engine, timed phase by phase."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines import Engine
from engines.base import check_inputs
from refinemask.config import STRIDE, Preprocessing
from refinemask.data.images import read_image
from refinemask.data.transforms import NetworkInput, preprocess
from refinemask.files import UserError
from refinemask.prediction import to_predictions
from refinemask.structures import Result

PHASES = ("decode", "preprocess", "copy in", "engine", "paste + encode")
"""Phases that are timed. Masks are encoded straight from the paste, on the GPU where the engine is there, so pasting,
encoding and the copy to the host are one phase."""


@dataclass
class Stopwatch:
    """Wall-clock seconds of consecutive phases."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """End a phase, or a part of one, that began with the previous one's end."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class Sample:
    """One batch through one engine."""

    seconds: dict[str, float]
    """Wall-clock time of the whole batch, by phase."""
    detections: list[int]
    """Number of detections of each image."""
    padded: tuple[int, int]
    """(height, width) of the network's input."""


def read_input(image: Path, size: tuple[int, int]) -> NetworkInput:
    """One image as COCO's models take it, padded to a fixed height and width.

    Raises:
        UserError: the image cannot be read, or no network takes the size.
    """
    if any(side < STRIDE or side % STRIDE for side in size):
        raise UserError(f"--size is {size[0]}x{size[1]}; expected multiples of {STRIDE}, such as 800x1344")
    return preprocess([read_image(image)], Preprocessing(), size)


def process(
    engine: Engine, paths: Sequence[str | Path], canvas: tuple[int, int] | None = None
) -> tuple[Sample, list[list[Result]]]:
    """Run one batch of image files.

    Args:
        canvas: padded (height, width); None is what the images and the engine need.

    Returns:
        What was measured, and the COCO results of each image, without image ids.

    Raises:
        UserError: an image cannot be read or does not fit the engine.
    """
    watch = Stopwatch()
    originals = [read_image(path, engine.config.preprocessing.window) for path in paths]
    watch.lap("decode")
    shapes = [image.shape[:2] for image in originals]
    batch = preprocess(originals, engine.config.preprocessing, canvas or engine.canvas(shapes))
    inputs = check_inputs(batch.images, batch.image_sizes, engine.bounds)
    watch.lap("preprocess")
    on_device = engine.upload(*inputs)
    watch.lap("copy in")
    outputs = engine.run(on_device)
    watch.lap("engine")
    predictions = to_predictions(engine.encode(outputs, batch.scale_factors, shapes), shapes, engine.config)
    results = [prediction.to_coco() for prediction in predictions]
    watch.lap("paste + encode")
    return Sample(watch.seconds, [len(each) for each in predictions], batch.images.shape[2:]), results
