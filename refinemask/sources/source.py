"""What every source of images has in common, and several sources as one. Imports no PyTorch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from refinemask.sources.item import Item

TICK = 0.1
"""Seconds after which whoever waits for input looks whether its source was closed."""


class Source(Protocol):
    """Images in order, which one thread takes once."""

    @property
    def live(self) -> bool:
        """Whether images come at a rate of their own: what is not taken in time is dropped."""

    @property
    def total(self) -> int | None:
        """Number of images, as far as it is known before they are taken; a video's is what its header promises."""

    @property
    def paths(self) -> Sequence[Path] | None:
        """The files that it reads; None if they are not known before they are taken."""

    @property
    def dropped(self) -> int:
        """Number of live frames until now that nobody took in time; any thread may ask."""

    def __iter__(self) -> Iterator[Item]:
        """The images, each as soon as it is there.

        What cannot be used is an item as well, whose ``read`` raises the error; the others go on.

        Raises:
            UserError: what lists the images is no such list.
        """

    def close(self) -> None:
        """End the iteration, which may be waiting for input in another thread; any thread may call this, at any time.

        A thread that waits notices within a fraction of a second, and takes no further image.
        """


class Chain:
    """Several sources, one behind the other; see :class:`Source`.

    Args:
        parts: the sources.
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        self.parts = parts
        self._closed = False

    @property
    def live(self) -> bool:
        return any(part.live for part in self.parts)

    @property
    def total(self) -> int | None:
        totals = [part.total for part in self.parts]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def paths(self) -> Sequence[Path] | None:
        paths: list[Path] = []
        for part in self.parts:
            own = part.paths
            if own is None:
                return None
            paths += own
        return paths

    @property
    def dropped(self) -> int:
        return sum(part.dropped for part in self.parts)

    def __iter__(self) -> Iterator[Item]:
        for part in self.parts:
            if self._closed:
                return
            yield from part

    def close(self) -> None:
        self._closed = True
        for part in self.parts:
            part.close()
