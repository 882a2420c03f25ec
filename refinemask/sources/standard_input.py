"""One image on standard input. Imports no PyTorch."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from threading import Event

from refinemask.data.image_kind import LARGEST_PICTURE
from refinemask.files import UserError
from refinemask.sources.images import EncodedImage, Unreadable
from refinemask.sources.item import Item
from refinemask.sources.waiting import STANDARD_INPUT, read_blocks

NAME = "standard input"


class StandardInputImage:
    """The bytes of one image file on standard input; see :class:`refinemask.sources.source.Source`.

    Args:
        place: where its outputs belong.
        file: number of the open file.
    """

    live = False
    total = 1
    dropped = 0
    paths = ()

    def __init__(self, place: PurePosixPath, file: int = STANDARD_INPUT) -> None:
        self._place = place
        self._file = file
        self._closed = Event()

    def __iter__(self) -> Iterator[Item]:
        data = bytearray()
        try:
            for block in read_blocks(NAME, self._file, self._closed):
                data += block
                if len(data) > LARGEST_PICTURE:
                    raise UserError(f"{NAME}: holds more than {LARGEST_PICTURE} bytes, expected one image")
        except UserError as error:
            yield Unreadable(NAME, error, self._place)
            return
        if not self._closed.is_set():
            yield EncodedImage(NAME, bytes(data), self._place)

    def close(self) -> None:
        self._closed.set()
