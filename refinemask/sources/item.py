"""One image of a source, which is not decoded yet. Imports no PyTorch."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from refinemask.config import Window


@dataclass(frozen=True, kw_only=True)
class Video:
    """What frames come from: a video file, a camera or a stream."""

    name: str
    """How errors name it, such as ``clip.mp4``, ``camera 0`` or ``rtsp://…``, without user, password and query."""
    stem: str
    """Name of outputs, without an ending: ``clip``, ``camera0``; nothing else of a source has the same."""
    path: Path | None
    """The video file; None for cameras and streams."""
    fps: float
    """Frames per second that are given: ``every`` = 5 of a video of 30 makes 6. A video that does not tell counts as
    one of 25; of a live one, fewer come where frames are dropped."""
    frames: int | None
    """Number of frames that will be given, as far as the file's header tells; None where nobody knows."""


class Item(Protocol):
    """One image of a source. Nothing of it changes when the source goes on."""

    @property
    def name(self) -> str:
        """How errors name it, such as ``street/a.jpg`` or ``clip.mp4: frame 12``."""

    @property
    def path(self) -> Path | None:
        """Its image file; None if it is no file of its own."""

    @property
    def place(self) -> PurePosixPath:
        """Where its outputs belong below an output folder, without an ending: ``street/a``, ``clip/000012``.

        No two images of a source have the same.
        """

    @property
    def video(self) -> Video | None:
        """The video that it is a frame of, if it is one; the same object for all frames of a video."""

    @property
    def index(self) -> int | None:
        """Position of the frame in its video, from 0, counting those that are not given; None for other images."""

    @property
    def seconds(self) -> float | None:
        """Time of the frame from the video's beginning, or from the first frame of a camera; None for other images."""

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        """Decode it; any thread may call this, once.

        Args:
            window: how an image of more than 8 bits per channel becomes one of 8.

        Returns:
            [h, w, 3] uint8 RGB.

        Raises:
            UserError: it cannot be read or is no such image.
        """
