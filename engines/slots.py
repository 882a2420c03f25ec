"""Engines that compute several batches at the same time, each in a slot of its own."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from engines.base import Engine
from refinemask.structures import Detections, ImageDetections


class Slot(Protocol):
    """All that one batch needs while it is computed: buffers and, on a GPU, a stream."""

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        """Bring the inputs to the device."""

    def run(self) -> None:
        """Compute the detections of the inputs uploaded last."""

    def download(self) -> Detections:
        """The detections as NumPy arrays of their own."""

    def encode(self, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]) -> list[ImageDetections]:
        """The detections of each image, its masks pasted; see :meth:`engines.base.Engine.encode`."""


class SlottedEngine(Engine):
    """An engine that lends a slot from the upload to the download, or until something fails.

    Several threads may call :meth:`infer` at once: as many batches as there are slots are computed at the same time.
    """

    def __init__(self, make_slot: Callable[[], Slot], slots: int, **about: Any) -> None:
        """``about`` is what :class:`Engine` is made of."""
        super().__init__(**about)
        self._slots: SimpleQueue[Slot] = SimpleQueue()
        for _ in range(slots):
            self._slots.put(make_slot())

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> Slot:
        slot = self._slots.get()
        try:
            slot.upload(images, image_sizes)
        except BaseException:
            self._slots.put(slot)
            raise
        return slot

    def run(self, inputs: Slot) -> Slot:
        try:
            inputs.run()
        except BaseException:
            self._slots.put(inputs)
            raise
        return inputs

    def download(self, outputs: Slot) -> Detections:
        try:
            return outputs.download()
        finally:
            self._slots.put(outputs)

    def encode(
        self, outputs: Slot, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]
    ) -> list[ImageDetections]:
        try:
            with self.named_outputs():
                return outputs.encode(scale_factors, image_shapes)
        finally:
            self._slots.put(outputs)
