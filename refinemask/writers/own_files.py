"""Files of an output folder, which never are inputs under another name."""

import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from refinemask.data.images import IMAGE_SUFFIXES
from refinemask.files import UserError, atomic_write, remove_abandoned, require_file
from refinemask.sources.item import Item
from refinemask.sources.video_file import VIDEO_SUFFIXES

PICTURE_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


class RefusedOutputError(UserError):
    """An output would replace an input, or something else than a file: a mistake of the whole call."""


class OwnFiles:
    """The names of files in an output folder.

    No picture or video that is there already is replaced in the folder of the image itself, whether it is an input or
    not: there it may be somebody's, such as ``a.png`` beside ``a.jpg``.
    """

    def __init__(self, folder: Path, inputs: Iterable[Path] | None = ()) -> None:
        """Prepare the folder, which is made when the first file is written.

        Args:
            folder: the output folder.
            inputs: files that no output may replace; None if they are not known.

        Raises:
            UserError: the folder is a file.
        """
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file, expected the name of a folder")
        self.folder = folder
        # Several threads may be the first to need them.
        self._inputs = None if inputs is None else tuple(inputs)
        self._tidied: set[Path] = set()

    def path(self, item: Item, ending: str) -> Path:
        """The file of an image, such as ``folder/street/a.png``; see :meth:`checked`."""
        place = item.place
        return self.checked(self.folder / place.parent / (place.name + ending), item)

    def checked(self, path: Path, item: Item) -> Path:
        """The path itself.

        Raises:
            RefusedOutputError: an input would be replaced, or something else than a file.
        """
        try:
            require_file(path)
        except UserError as error:
            raise RefusedOutputError(str(error)) from error
        if path.exists() and self._may_be_input(path, item):
            found = "is one of the files to read, or lies beside them"
            raise RefusedOutputError(f"{path}: {found}, and would be overwritten; give another folder")
        return path

    def write(self, path: Path, data: bytes) -> None:
        """Write a file of the folder whole.

        Raises:
            UserError: it cannot be written.
        """
        with atomic_write(path, one_of_many=True) as temporary:
            temporary.write_bytes(data)
        if path.parent not in self._tidied:
            self._tidied.add(path.parent)
            with suppress(OSError):
                remove_abandoned(path.parent)

    def _may_be_input(self, path: Path, item: Item) -> bool:
        video = None if item.video is None else item.video.path
        own = [each for each in (item.path, video) if each is not None]
        if path.suffix in PICTURE_SUFFIXES and any(_identity(each.parent) == _identity(path.parent) for each in own):
            return True
        return _identity(path) in self._identities | {_identity(each) for each in own}

    @cached_property
    def _identities(self) -> set[tuple[int, int] | None]:
        # In most runs no output is there before, and this is never needed.
        return {_identity(path) for path in self._inputs or ()}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
