"""OpenCV opens video files, cameras and streams. Imports no PyTorch."""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import cv2
from cv2 import videoio_registry

from refinemask.data.image_kind import LARGEST_PICTURE
from refinemask.data.opencv_log import silent_opencv
from refinemask.files import UserError
from refinemask.readable import require_readable

MOST_FRAMES = 1 << 40
"""Above every number of frames that a header means; OpenCV says absurd ones where it knows none."""
FASTEST = 1000.0
"""Frames per second of the fastest video; headers without a rate may say more."""
USUAL_FPS = 25.0
"""Frames per second of a video whose header does not tell."""


class Capture(Protocol):
    """What is used of ``cv2.VideoCapture``. One thread uses it at a time."""

    def isOpened(self) -> bool: ...  # noqa: N802

    def grab(self) -> bool:
        """Decode the next frame; False at the end, and if none came in time."""

    def retrieve(self) -> tuple[bool, Any]:
        """Whether there is a frame, and a new array [h, w, 3] uint8 BGR, upright by what the file says."""

    def get(self, propId: int) -> float: ...  # noqa: N803

    def release(self) -> None: ...


def open_file(path: Path) -> Capture:
    """Open a video file.

    Raises:
        UserError: it does not exist, is no video that can be read, or its frames are too large to decode safely.
    """
    require_readable(path)
    try:
        # An absolute path is never taken for one of FFmpeg's protocols, such as concat:. OpenCV crashes at what is no
        # UTF-8.
        name = os.path.abspath(path).encode().decode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: its name is no UTF-8, which OpenCV needs of a video; rename it") from error
    capture = _open(name, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        here = "" if videoio_registry.hasBackend(cv2.CAP_FFMPEG) else "; OpenCV here has no FFMPEG"
        raise UserError(f"{path}: cannot be read: no video of a known format, or damaged{here}")
    height, width = (capture.get(which) for which in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
    if height * width * 6 > LARGEST_PICTURE:
        capture.release()
        raise UserError(f"{path}: its frames of {height:.0f}x{width:.0f} pixels are too large to decode safely")
    return capture


def open_camera(index: int) -> Capture:
    """Open a camera of this machine; whether that succeeded ``isOpened`` tells."""
    return _open(index, cv2.CAP_ANY)


def open_stream(url: str, seconds: float) -> Capture:
    """Open a stream, which gives up after ``seconds`` without a connection, and after as many without a frame."""
    limit = math.ceil(1000 * seconds)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    return _open(url, cv2.CAP_FFMPEG, limits)


def promised_frames(capture: Capture) -> int | None:
    """Number of frames by the header, if it tells; some formats state a duration alone, and this is an estimate."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return round(count) if 0 < count < MOST_FRAMES else None


def frame_rate(capture: Capture) -> float:
    """Frames per second by the header; :data:`USUAL_FPS` if it does not tell."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate <= FASTEST else USUAL_FPS


def frame_time(capture: Capture, index: int) -> float:
    """Seconds from the video's beginning to the frame that was grabbed last, the one with this number.

    Some formats tell no times; then it is that of a video of an even rate.
    """
    milliseconds = capture.get(cv2.CAP_PROP_POS_MSEC)
    return milliseconds / 1000 if milliseconds > 0 or index == 0 else index / frame_rate(capture)


def _open(what: str | int, backend: int, parameters: Sequence[int] = ()) -> Capture:
    with silent_opencv(), suppress(cv2.error):
        return cv2.VideoCapture(what, backend, parameters)
    return cv2.VideoCapture()
