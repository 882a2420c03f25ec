"""The newest frame of a live video, between the thread that reads and the one that takes. Imports no PyTorch."""

import time
from threading import Condition

from refinemask.sources.frame import Frame


class Newest:
    """Holds one frame; one that comes before it was taken replaces it and counts as dropped."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._frame: Frame | None = None
        self._dropped = 0
        self._end: str | None = None
        self._alive = time.monotonic()

    @property
    def dropped(self) -> int:
        """Number of frames that nobody took."""
        with self._changed:
            return self._dropped

    @property
    def end(self) -> str | None:
        """Why no frame will come any more; None as long as one may."""
        with self._changed:
            return self._end

    @property
    def silence(self) -> float:
        """Seconds since the thread that reads began to wait for what it waits for now."""
        with self._changed:
            return time.monotonic() - self._alive

    def alive(self) -> None:
        """Say that the thread that reads begins to wait for something."""
        with self._changed:
            self._alive = time.monotonic()

    def put(self, frame: Frame) -> None:
        """Make a frame the newest."""
        with self._changed:
            self._dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def finish(self, end: str) -> None:
        """Say why no frame will come any more; the last one can still be taken."""
        with self._changed:
            self._end = end
            self._changed.notify()

    def take(self, seconds: float) -> Frame | None:
        """The newest frame that was not taken yet; None if none comes within ``seconds``, or none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._end is not None, seconds)
            frame, self._frame = self._frame, None
            return frame
