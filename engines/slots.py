"""Engines that compute each batch in a slot, and as many batches at the same time as they have slots."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from threading import Lock
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class PastingSlot(Slot, Protocol):
    """A slot of a GPU on which masks are pasted, too."""

    def encode(self, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]) -> list[ImageDetections]:
        """The detections of each image, its masks pasted; see :meth:`engines.base.Engine.encode`."""


class LentSlot:
    """A slot from the moment it is free until it is given back, at the latest when nobody refers to this any more.

    No signal may arrive between taking a slot and knowing that it was taken, nor between giving it back and knowing
    that: a Ctrl-C there would lose the slot, and the next batch would wait for ever. So each is one call of C, within
    which Python handles no signal.
    """

    _taken: Sequence[Slot] = ()

    def __init__(self, free: "SimpleQueue[Slot]") -> None:
        """Wait, without using the CPU, until a slot is free."""
        self._free = free
        taken: list[Slot] = []
        self._not_given_back = iter(taken)
        self._taken = taken
        taken.extend(islice(iter(free.get, None), 1))

    @property
    def slot(self) -> Slot:
        """The slot."""
        return self._taken[0]

    def give_back(self) -> None:
        """Let another batch have the slot. Only the first call has an effect."""
        deque(map(self._free.put, self._not_given_back), maxlen=0)

    @contextmanager
    def given_back_on_error(self) -> Iterator[None]:
        """Give the slot back if the block fails or is interrupted."""
        try:
            yield
        except BaseException:
            self.give_back()
            raise

    def __del__(self) -> None:
        if self._taken:
            self.give_back()


class SlottedEngine(Engine):
    """An engine that lends a slot from the upload to the download, or until something fails.

    A slot is made when so many batches are computed at the same time for the first time, so one that is never needed
    takes no memory.
    """

    def __init__(self, make_slot: Callable[[], Slot], slots: int, **about: Any) -> None:
        """``about`` is what :class:`Engine` is made of."""
        super().__init__(**about)
        self._make_slot = make_slot
        self._making = Lock()
        self._unmade = slots - 1
        self._concurrency = slots
        self._free: SimpleQueue[Slot] = SimpleQueue()
        self._free.put(make_slot())

    @property
    def concurrency(self) -> int:
        """The number of slots."""
        return self._concurrency

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> LentSlot:
        if self._free.empty():
            self._make_another()
        lent = LentSlot(self._free)
        with lent.given_back_on_error():
            lent.slot.upload(images, image_sizes)
        return lent

    def run(self, inputs: LentSlot) -> LentSlot:
        with inputs.given_back_on_error():
            inputs.slot.run()
        return inputs

    def download(self, outputs: LentSlot) -> Detections:
        try:
            return outputs.slot.download()
        finally:
            outputs.give_back()

    def encode(
        self, outputs: LentSlot, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]
    ) -> list[ImageDetections]:
        slot = outputs.slot
        if not isinstance(slot, PastingSlot):
            # The download gives the slot back, so that the next batch does not wait for the paste.
            return super().encode(outputs, scale_factors, image_shapes)
        try:
            with self.named_outputs():
                return slot.encode(scale_factors, image_shapes)
        finally:
            outputs.give_back()

    def release(self, uploaded: LentSlot) -> None:
        uploaded.give_back()

    def _make_another(self) -> None:
        with self._making:
            if self._unmade:
                self._free.put(self._make_slot())
                self._unmade -= 1
