"""Which images go through the network together. Imports no PyTorch."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from refinemask.streaming.work import Canvas, Part

T = TypeVar("T")


class Batches(Generic[T]):
    """Groups parts of images by their padded size, in the order in which they come.

    Nothing but that order decides what goes together, so the same images make the same batches each time. An image is
    padded as it would be alone, whatever its neighbours.
    """

    def __init__(self, batch_size: int, patience: int, most_bytes: int) -> None:
        """Begin with no part.

        Args:
            batch_size: number of parts of a full batch.
            patience: number of later images after which an incomplete batch goes without waiting for more.
            most_bytes: size of the images waiting from which on all of them go.
        """
        self._batch_size, self._patience, self._most_bytes = batch_size, patience, most_bytes
        self._groups: dict[Canvas, list[Part[T]]] = {}

    def add(self, index: int, parts: Sequence[Part[T]]) -> Iterator[list[Part[T]]]:
        """Take the parts of the next image, none if it failed, and give the batches that go now."""
        for part in parts:
            group = self._groups.setdefault(part.canvas, [])
            group.append(part)
            if len(group) == self._batch_size:
                yield self._groups.pop(part.canvas)
        # A group's place among the others is that of its first part: the oldest group comes first.
        while self._groups and (self._is_overdue(index) or self._is_too_large()):
            yield self._groups.pop(next(iter(self._groups)))

    def rest(self) -> Iterator[list[Part[T]]]:
        """What is left, oldest first."""
        while self._groups:
            yield self._groups.pop(next(iter(self._groups)))

    def _is_overdue(self, index: int) -> bool:
        return index - next(iter(self._groups.values()))[0].work.index >= self._patience

    def _is_too_large(self) -> bool:
        waiting = {part.work.index: part.work.bytes for group in self._groups.values() for part in group}
        return sum(waiting.values()) > self._most_bytes
