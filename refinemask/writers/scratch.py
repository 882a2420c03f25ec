"""JSON lists that grow on disk while their file cannot be written yet, so that the memory does not grow.

What was collected is worth hours of work: where the file cannot be written in the end, it goes to a second place.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import BinaryIO

from refinemask.files import UserError, atomic_write


class Scratch:
    """Entries of a JSON list in an unnamed temporary file."""

    def __init__(self) -> None:
        """Make the file.

        Raises:
            UserError: there is no folder for temporary files.
        """
        try:
            # Without a buffer, what could not be written does not come again when the file is closed.
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UserError(f"no temporary file can be written ({error.strerror}); name a folder by TMPDIR") from error
        self._end = 0

    @property
    def end(self) -> int:
        """Bytes of the entries until now, which :meth:`copy_to` takes."""
        return self._end

    def append(self, entries: Iterable[str]) -> None:
        """Add the JSON texts of entries.

        Raises:
            UserError: the disk is full or gone; the list stays as it was.
        """
        text = ",\n".join(entries)
        if not text:
            return
        rest = memoryview(((",\n" if self._end else "") + text).encode())
        end = self._end + len(rest)
        try:
            self._file.seek(self._end)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise UserError(f"the temporary file cannot be written: {error.strerror}") from error
        self._end = end

    def copy_to(self, file: BinaryIO, end: int | None = None) -> None:
        """Write the list to ``file``: all of it, or what it was when :attr:`end` was ``end``."""
        # What an interruption left behind it is no entry.
        self._file.truncate(self._end if end is None else end)
        file.write(b"[")
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, 1 << 20)
        file.write(b"]")

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def complete(path: str | os.PathLike[str], write: Callable[[BinaryIO], None], images: int) -> None:
    """Let ``write`` write the file ``path``, or else one of this name in a new folder for temporary files.

    Args:
        path: the file.
        write: writes its content.
        images: number of images that it is of, for the message.

    Raises:
        UserError: ``path`` cannot be written; the message says where the second file is.
    """
    try:
        _write(Path(path), write)
    except UserError as error:
        # Which may be on another disk.
        kept = Path(mkdtemp(prefix="refinemask-")) / Path(path).name
        _write(kept, write)
        raise UserError(f"{error}; the results of {images} images are in {kept}") from error


def _write(path: Path, write: Callable[[BinaryIO], None]) -> None:
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        write(file)
