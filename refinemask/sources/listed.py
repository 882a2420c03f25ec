"""Images that a list names: a text file, or standard input, with one path a line. Imports no PyTorch."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Event

from refinemask.files import UserError
from refinemask.sources.item import Item
from refinemask.sources.source import Source
from refinemask.sources.video_file import VIDEO_SUFFIXES
from refinemask.sources.waiting import STANDARD_INPUT, opened, read_blocks

LONGEST_LINE = 1 << 16
"""Bytes of the longest line; no path is longer."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ListedPaths:
    """The images and videos whose paths stand in a list; see :class:`refinemask.sources.source.Source`.

    Each comes as soon as its line is there, so the list may be a pipe that has no end. Blank lines are skipped.
    Relative paths begin at the working directory. What does not exist is an item whose ``read`` fails.

    Args:
        path: the list; None is standard input.
        source_of_path: the source of one image or video file.
    """

    live = False
    dropped = 0

    def __init__(self, path: Path | None, source_of_path: Callable[[Path], Source]) -> None:
        self._path = path
        self._name = "standard input" if path is None else str(path)
        self._source_of_path = source_of_path
        self._closed = Event()

    @cached_property
    def paths(self) -> Sequence[Path] | None:
        """Those in a regular file, which is read for this."""
        return list(self._paths()) if self._path is not None and self._path.is_file() else None

    @property
    def total(self) -> int | None:
        """Number of images in a regular file; None if there are videos among them."""
        paths = self.paths
        has_videos = paths is not None and any(path.suffix.lower() in VIDEO_SUFFIXES for path in paths)
        return None if paths is None or has_videos else len(paths)

    def __iter__(self) -> Iterator[Item]:
        empty = True
        for path in self._paths():
            empty = False
            for item in self._source_of_path(path):
                yield item
                if self._closed.is_set():
                    return
        if empty and not self._closed.is_set():
            raise UserError(f"{self._name}: names no image; expected one path a line")

    def close(self) -> None:
        self._closed.set()

    def _paths(self) -> Iterator[Path]:
        with self._file() as file:
            for number, line in enumerate(_lines(read_blocks(self._name, file, self._closed)), start=1):
                if len(line) > LONGEST_LINE or b"\0" in line:
                    raise UserError(f"{self._name}: line {number} is no path; expected a text with one path a line")
                line = line.removesuffix(b"\r")
                if line.strip():
                    yield Path(os.fsdecode(line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line))

    @contextmanager
    def _file(self) -> Iterator[int]:
        if self._path is None:
            yield STANDARD_INPUT
        else:
            with opened(self._path) as file:
                yield file


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a text without their ends; one that is too long comes as far as it was read, and is the last."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            break
    if rest:
        yield rest
