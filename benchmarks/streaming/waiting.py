"""A detector that takes the time of a GPU and none of the CPU's. Imports no PyTorch."""

import time
from collections.abc import Iterable, Sequence
from threading import Lock, Semaphore

import numpy as np
from numpy.typing import NDArray

from refinemask.config import ModelConfig
from refinemask.phases import Phases, unmeasured
from refinemask.prediction import encode
from refinemask.structures import Detections, ImageDetections

Found = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Masks [N, M, M] and boxes [N, 4] in pixels of the original image, with the same N and M in each set."""
STEP = 64
"""Distance in pixels of those that choose what is found in an image."""


class DeviceQueue:
    """Batches on a device, one after the other: each begins as soon as the one before has ended, without Python."""

    def __init__(self, seconds: float, places: int) -> None:
        """Begin with an idle device.

        Args:
            seconds: time of a batch.
            places: batches that are in the queue at most, the one that is computed among them.
        """
        self._seconds, self._places, self._lock = seconds, Semaphore(places), Lock()
        self._free_at = 0.0

    def run(self) -> None:
        """Wait until a batch has been computed that was put into the queue as soon as there was a place."""
        with self._places:
            with self._lock:
                self._free_at = max(self._free_at, time.perf_counter()) + self._seconds
                end = self._free_at
            time.sleep(max(0.0, end - time.perf_counter()))


class WaitingPredictor:
    """Finds one of several given sets of objects in an image, after the time of a device."""

    name, precision = "waiting", "none"
    config = ModelConfig(class_names=("thing",), category_ids=(1,))

    def __init__(self, seconds: float, concurrency: int, found: Found) -> None:
        """Begin with an idle device.

        Args:
            seconds: time of a batch on the device.
            concurrency: batches that the device is given at the same time.
            found: the sets of objects.
        """
        self.concurrency = concurrency
        self.device = DeviceQueue(seconds, concurrency)
        self._found = found

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        """Any size is taken."""
        return None

    def detect(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        scale_factors: NDArray[np.float32],
        image_shapes: Sequence[tuple[int, int]],
        *,
        phases: Phases = unmeasured,
    ) -> list[ImageDetections]:
        """The objects of each image, pasted on the host; see :class:`refinemask.prediction.Predictor`."""
        with phases("engine"):
            self.device.run()
        with phases("paste"):
            return encode(self._detections(images, scale_factors), scale_factors, image_shapes)

    def _detections(self, images: NDArray[np.uint8], scale_factors: NDArray[np.float32]) -> Detections:
        """What is found depends on the image alone, and differs between images."""
        sums = images[:, :, ::STEP, ::STEP].sum((1, 2, 3))
        chosen = [self._found[int(each) % len(self._found)] for each in sums]
        masks, boxes = (np.stack(arrays) for arrays in zip(*chosen, strict=True))
        batch, count = boxes.shape[:2]
        scores = np.linspace(1, 0.5, count, dtype=np.float32) * (1 + sums[:, None] % 97).astype(np.float32) / 97
        return Detections(
            boxes=boxes * scale_factors[:, None],
            scores=scores,
            labels=np.zeros((batch, count), np.int64),
            num_detections=np.full(batch, count),
            masks=masks,
        )
