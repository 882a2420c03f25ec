"""Image files whose names are known, as a source. Imports no PyTorch."""

from collections.abc import Iterator, Sequence

from refinemask.sources.images import ImageFile


class Files:
    """Image files in order; see :class:`refinemask.sources.source.Source`."""

    live = False
    dropped = 0

    def __init__(self, images: Sequence[ImageFile]) -> None:
        self.total = len(images)
        self.paths = [image.path for image in images]
        self._images = images
        self._closed = False

    def __iter__(self) -> Iterator[ImageFile]:
        for image in self._images:
            if self._closed:
                return
            yield image

    def close(self) -> None:
        self._closed = True
