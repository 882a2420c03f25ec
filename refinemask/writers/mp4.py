"""MP4 files of pictures, by OpenCV.

The codec is MPEG-4 Part 2, which VLC, mpv, ffmpeg and OpenCV play. Browsers do not; ``ffmpeg -i clip.mp4 -c:v libx264
-pix_fmt yuv420p clip-h264.mp4`` makes a file for them. OpenCV's wheels have no encoder of H.264, for its licence, and
theirs of VP9 takes fifty times the time.
"""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from refinemask.data.opencv_log import silent_opencv
from refinemask.files import UserError, atomic_write
from refinemask.writers.naming import json_text

CODEC = "mp4v"
UNKNOWN_RATE = 25.0
"""Frames per second of a video that does not tell."""
SLOWEST = 0.01
"""Frames per second that OpenCV still counts."""
LARGEST_TICKS = 65_535
"""Parts of a second, at most, by which the codec counts time."""


class Mp4:
    """A video file that takes its place when the block ends, whatever ends it, if it has a frame."""

    def __init__(self, path: Path, fps: float, size: tuple[int, ...]) -> None:
        """Prepare the file.

        Args:
            path: the file to write.
            fps: frames per second; 0 and what is no number are taken for 25.
            size: even height and width in pixels.
        """
        self.path = path
        self._fps = playable_rate(fps)
        self._size = size
        self._frames = 0

    def __enter__(self) -> "Mp4":
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_write(self.path))
            # OpenCV ends the process at such a name.
            if json_text(str(self._temporary)) != str(self._temporary):
                raise UserError(f"{self.path}: the folder's name is no UTF-8, as videos need; give another folder")
            code = cv2.VideoWriter.fourcc(*CODEC)
            with silent_opencv():
                self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, code, self._fps, self._size[::-1])
            if not self._writer.isOpened():
                height, width = self._size
                raise UserError(
                    f"{self.path}: OpenCV makes no MP4 of {width}x{height} pixels and {self._fps:g} frames per second "
                    f"({CODEC}) here"
                )
            self._stack = stack.pop_all()
        return self

    @property
    def frames(self) -> int:
        """Number of frames until now."""
        return self._frames

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Add a frame [h, w, 3] uint8 RGB; one of another size is resized."""
        if picture.shape[:2] != self._size:
            picture = cv2.resize(picture, self._size[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        self._last = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        self.repeat()

    def repeat(self) -> None:
        """Add the last frame again."""
        with silent_opencv():
            self._writer.write(self._last)
        self._frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the file.

        Raises:
            UserError: it cannot be written; OpenCV does not say so before.
        """
        with self._stack:
            self._writer.release()
            found = _count_frames(self._temporary)
            # An interruption may come between a frame and its count.
            if found < self._frames:
                kept = f"only {max(found, 0)} of its {self._frames} frames arrived"
                raise UserError(f"{self.path}: cannot be written: {kept}; make room on the disk")


def even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture [h, w, 3] with even sides, which videos need: the last row or column may be there twice."""
    height, width = picture.shape[:2]
    return cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def playable_rate(fps: float) -> float:
    """The nearest number of frames per second, in decimals, that the codec can count."""
    if not 0 < fps < LARGEST_TICKS:
        return UNKNOWN_RATE
    digits = next(digits for digits in (3, 2, 1, 0) if fps * 10**digits < LARGEST_TICKS)
    return max(round(fps, digits), SLOWEST)


def _count_frames(path: Path) -> int:
    with silent_opencv():
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        video.release()
    return frames
