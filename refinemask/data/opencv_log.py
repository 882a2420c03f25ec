"""OpenCV's own lines on standard error, which name no file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import cv2

# Those of its FFmpeg: OpenCV reads this once, at the first video that the process reads or writes.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
_SILENT = 0
# OpenCV 4 has these functions at its top, OpenCV 5 in a module.
_log: Any = getattr(cv2.utils, "logging", cv2)
_lock = Lock()
_users = 0
_level = 0


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Let OpenCV log nothing within the block, and what it logged before after it, whatever other threads do."""
    global _users, _level
    with _lock:
        if _users == 0:
            _level = _log.getLogLevel()
            _log.setLogLevel(_SILENT)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _log.setLogLevel(_level)
