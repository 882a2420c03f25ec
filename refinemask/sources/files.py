"""Image files whose names are known, as a source. Imports no PyTorch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event

from refinemask.sources.images import ImageFile


@dataclass(frozen=True)
class Files:
    """Image files in order; see :class:`refinemask.sources.source.Source`."""

    images: Sequence[ImageFile]
    live = False
    dropped = 0
    _closed: Event = field(default_factory=Event, init=False, repr=False)

    @property
    def total(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageFile]:
        for image in self.images:
            if self._closed.is_set():
                return
            yield image

    def close(self) -> None:
        self._closed.set()
