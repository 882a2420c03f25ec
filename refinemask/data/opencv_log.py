"""OpenCV's own lines on standard error, which name no file."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from cv2.utils import logging

_lock = Lock()
_users = 0
_level = 0


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Let OpenCV log nothing within the block, and what it logged before after it, whatever other threads do."""
    global _users, _level
    with _lock:
        if _users == 0:
            _level = logging.getLogLevel()
            logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                logging.setLogLevel(_level)
