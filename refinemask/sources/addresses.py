"""Cameras, and addresses of streams. Imports no PyTorch."""

import re
from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

from refinemask.data.images import IMAGE_SUFFIXES
from refinemask.files import UserError
from refinemask.sources.video_file import VIDEO_SUFFIXES

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "srt")
"""Beginnings of the addresses of streams."""
DOWNLOADED = {*IMAGE_SUFFIXES, ".gif", ".avif", ".heic", *VIDEO_SUFFIXES} - {".mpg", ".mpeg", ".ts"}
"""Endings of files that a web server has: read as a stream, they would lose frames. MPEG may be a stream."""
CAMERA = re.compile(r"(?:camera:)?(\d{1,3})")


def is_address(word: str) -> bool:
    """Whether what was given is a URL and no name of a file."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", word) is not None


def camera_index(word: str) -> int | None:
    """The number of a camera that was given as ``0`` or ``camera:0``; None if it is something else."""
    found = CAMERA.fullmatch(word)
    return int(found[1]) if found else None


def split_address(url: str) -> SplitResult:
    """The parts of a stream's address.

    Raises:
        UserError: it is no address of a stream.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise UserError(f"{url}: is no address: {error}") from error
    if parts.scheme not in SCHEMES or not host:
        expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UserError(f"{shown(parts)}: is no address of a stream; expected one of {expected} and a host, or a file")
    if parts.scheme in ("http", "https") and PurePosixPath(parts.path).suffix.lower() in DOWNLOADED:
        raise UserError(f"{shown(parts)}: is a file and no stream; download it (curl -LO URL), and give the file")
    return parts


def shown(parts: SplitResult) -> str:
    """An address without user, password and query, which may be secrets."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def stem_of(parts: SplitResult) -> str:
    """A name of outputs, such as ``192.168.1.5-live`` for ``rtsp://192.168.1.5/live``."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{parts.hostname}{parts.path}").strip("-.") or "stream"
