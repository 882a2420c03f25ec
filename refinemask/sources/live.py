"""Cameras and streams, whose frames come at their own rate. Imports no PyTorch."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Event, Thread

from refinemask.data.opencv_log import silent_opencv
from refinemask.exit_codes import printable
from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.sources.captures import Capture, frame_rate
from refinemask.sources.frame import Frame
from refinemask.sources.images import Unreadable
from refinemask.sources.item import Item, Video
from refinemask.sources.newest import Newest
from refinemask.sources.source import TICK

JOIN = 2.0
"""Seconds that the end of an iteration waits for its thread: a live one ends with its next frame."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a live video is waited for."""

    wait: float = 10.0
    """Seconds for a connection, and for each frame."""
    reopenings: int = 3
    """Times that a broken stream is opened again, one after the other."""
    pause: float = 1.0
    """Seconds before the first of them; each further one waits twice as long."""
    steady: float = 30.0
    """Seconds after which a connection that gave frames is no part of the same trouble."""

    @property
    def longest(self) -> float:
        """Seconds after which a thread that says nothing is given up: OpenCV keeps to no limit here."""
        return 2 * self.wait + self.pause * 2**self.reopenings


PATIENCE = Patience()
MOST_FPS = 60.0
"""Frames per second of a camera that are believed: some streams claim a thousand, and so many would be drawn."""


class LiveVideo:
    """The newest frame of a camera or stream whenever one is asked for; see :class:`refinemask.sources.source.Source`.

    A thread of its own reads without pause, because frames that OpenCV keeps would be old ones. What is not taken in
    time is dropped and counted. A stream that breaks is opened again, with a line on standard error. One that cannot be
    opened, or breaks again and again, ends with an item whose ``read`` fails. Nothing waits for ever: at the end of the
    iteration, the thread ends with the frame that it waits for, or at the latest when ``patience.wait`` is over.

    Args:
        name: how errors name it.
        stem: name of its outputs.
        connect: opens it, and gives up by itself after ``patience.wait``, for the connection and for each frame.
        remedy: what to do if it cannot be opened.
        every: 1 gives every frame, 5 every fifth; those between do not count as dropped.
        max_frames: number of frames that are given at most.
        patience: the limits.
    """

    live = True
    paths = ()

    def __init__(
        self,
        name: str,
        stem: str,
        connect: Callable[[], Capture],
        *,
        remedy: str,
        every: int = 1,
        max_frames: int | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.total = max_frames
        self._name = name
        self._stem = stem
        self._connect = connect
        self._remedy = remedy
        self._every = every
        self._patience = patience
        self._closed = Event()
        self._newest = Newest()
        self._video: Video | None = None
        self._read = 0
        self._first = 0.0

    @property
    def dropped(self) -> int:
        return self._newest.dropped

    def __iter__(self) -> Iterator[Item]:
        # A daemon, so that a call of OpenCV that waits for a dead camera does not keep the process. Before Python 3.14,
        # the process is aborted if that call returns in the very moment in which the interpreter ends.
        thread = Thread(target=self._run, name=f"reader of {self._name}", daemon=True)
        thread.start()
        try:
            yield from itertools.islice(self._items(), self.total)
        finally:
            self._closed.set()
            thread.join(JOIN)

    def close(self) -> None:
        self._closed.set()

    def _items(self) -> Iterator[Item]:
        while True:
            # Asked before the frame is: the last one may come in between.
            end = self._newest.end
            frame = self._newest.take(TICK)
            if self._closed.is_set():
                return
            if frame is not None:
                yield frame
                continue
            if self._newest.silence > self._patience.longest:
                end = f"does not answer within {self._patience.longest:g} s"
            if end is not None:
                error = UserError(f"{self._name}: {end}")
                yield Unreadable(self._name, error, PurePosixPath(self._stem), video=self._video)
                return

    def _run(self) -> None:
        """Read until the source is closed, or the stream has ended for good; the thread's function."""
        try:
            self._newest.finish(self._read_on())
        except Exception as error:  # Whatever it is, who takes the frames must not wait for more.
            self._newest.finish(f"cannot be read: {reason(error)}")

    def _read_on(self) -> str:
        """Open the stream, and again when it breaks; the reason for its end."""
        patience = self._patience
        tries = 0
        while not self._closed.is_set():
            before, start = self._read, time.monotonic()
            # OpenCV's own lines name no stream.
            with silent_opencv():
                self._read_connection()
            if self._closed.is_set():
                break
            if not self._read:
                return f"cannot be opened, or gives no frame within {patience.wait:g} s; {self._remedy}"
            if self._read > before and time.monotonic() - start >= patience.steady:
                tries = 0
            if tries == patience.reopenings:
                break
            tries += 1
            line = (
                f"{self._name}: broke off after {self._read} frames, is opened again ({tries} of {patience.reopenings})"
            )
            print(printable(line), file=sys.stderr)
            self._newest.alive()
            self._closed.wait(patience.pause * 2 ** (tries - 1))
        return f"ended after {self._read} frames, although it was opened again {tries} times"

    def _read_connection(self) -> None:
        """Read until the connection breaks, or the source is closed."""
        self._newest.alive()
        capture = self._connect()
        try:
            if not capture.isOpened():
                return
            if self._video is None:
                fps = min(frame_rate(capture), MOST_FPS) / self._every
                self._video = Video(name=self._name, stem=self._stem, path=None, fps=fps, frames=self.total)
            self._put_frames(capture, self._video)
        finally:
            capture.release()

    def _put_frames(self, capture: Capture, video: Video) -> None:
        while not self._closed.is_set():
            self._newest.alive()
            if not capture.grab():
                return
            if not self._read:
                self._first = time.monotonic()
            index, self._read = self._read, self._read + 1
            if index % self._every == 0:
                found, bgr = capture.retrieve()
                if found:
                    self._newest.put(Frame(video, index, time.monotonic() - self._first, bgr))
