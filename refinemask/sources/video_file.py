"""The frames of a video file. Imports no PyTorch."""

import itertools
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from refinemask.exit_codes import printable
from refinemask.files import UserError
from refinemask.sources.captures import Capture, frame_rate, frame_time, open_file, promised_frames
from refinemask.sources.frame import Frame
from refinemask.sources.images import Unreadable
from refinemask.sources.item import Item, Video

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".ts"}
"""Endings, in lower case, of files that are read as videos. A GIF is an image: its first picture."""
ESTIMATED = 0.01
"""Share of frames that may be missing without a word: some headers state a duration alone."""


class VideoFile:
    """The frames of a video file, in order and none dropped; see :class:`refinemask.sources.source.Source`.

    A file that is no video is one item whose ``read`` fails. A video that ends before its header says gives what it
    has, and a line on standard error.

    Args:
        path: the file.
        stem: name of its outputs.
        every: 1 gives every frame, 5 every fifth.
        max_frames: number of frames that are given at most.
        opened: what opens it.
    """

    live = False
    dropped = 0

    def __init__(
        self,
        path: Path,
        stem: str,
        *,
        every: int = 1,
        max_frames: int | None = None,
        opened: Callable[[Path], Capture] = open_file,
    ) -> None:
        self._path = path
        self.paths = [path]
        self._stem = stem
        self._every = every
        self._max_frames = max_frames
        self._opened = opened
        self._closed = False

    @cached_property
    def total(self) -> int | None:
        """Number of frames by the header, which is read for this; 1 if the file is no video: that is an item, too."""
        try:
            capture = self._opened(self._path)
        except UserError:
            return 1
        try:
            return self._given(promised_frames(capture))
        finally:
            capture.release()

    def __iter__(self) -> Iterator[Item]:
        try:
            capture = self._opened(self._path)
        except UserError as error:
            yield self._unreadable(error)
            return
        try:
            yield from self._frames(capture)
        finally:
            capture.release()

    def close(self) -> None:
        self._closed = True

    def _frames(self, capture: Capture) -> Iterator[Item]:
        promised = promised_frames(capture)
        video = Video(
            name=str(self._path),
            stem=self._stem,
            path=self._path,
            fps=frame_rate(capture) / self._every,
            frames=self._given(promised),
        )
        # Where this ends the video may go on.
        last = None if self._max_frames is None else (self._max_frames - 1) * self._every + 1
        for index in itertools.count():
            if self._closed or index == last:
                return
            if not capture.grab():
                break
            if index % self._every == 0:
                seconds = frame_time(capture, index)
                found, bgr = capture.retrieve()
                yield Frame(video, index, seconds, bgr) if found else self._broken(video, index, seconds)
        if index == 0:
            yield self._unreadable(UserError(f"{self._path}: holds no frame that can be decoded"))
        elif promised is not None and index < promised * (1 - ESTIMATED):
            why = "it is cut short or damaged, or its rate varies"
            line = f"{self._path}: ended after {index} of the {promised} frames that its header promises: {why}"
            print(printable(line), file=sys.stderr)

    def _given(self, frames: int | None) -> int | None:
        """How many of a video's frames are given."""
        if frames is None:
            return None
        given = -(-frames // self._every)
        return given if self._max_frames is None else min(given, self._max_frames)

    def _unreadable(self, error: UserError) -> Unreadable:
        return Unreadable(str(self._path), error, PurePosixPath(self._stem))

    def _broken(self, video: Video, index: int, seconds: float) -> Unreadable:
        name = f"{video.name}: frame {index}"
        place = PurePosixPath(video.stem) / f"{index:06d}"
        error = UserError(f"{name}: cannot be decoded")
        return Unreadable(name, error, place, video=video, index=index, seconds=seconds)
