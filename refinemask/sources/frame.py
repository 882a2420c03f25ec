"""A frame of a video. Imports no PyTorch."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from refinemask.config import Window
from refinemask.sources.item import Video
from refinemask.sources.pixels import rgb_of_array


@dataclass(eq=False)
class Frame:
    """A decoded frame of a video; see :class:`refinemask.sources.item.Item`."""

    video: Video
    index: int
    """Its number in the video from 0 on; with ``every`` = 5 frames 0, 5, 10 … are given."""
    seconds: float
    """Its time from the video's beginning, or from the first frame of a camera or stream."""
    bgr: NDArray[np.generic] | None
    """[h, w, 3] uint8 BGR, upright, which no other frame shares; None once it was read."""
    path = None

    @property
    def name(self) -> str:
        return f"{self.video.name}: frame {self.index}"

    @property
    def place(self) -> PurePosixPath:
        return PurePosixPath(self.video.stem) / f"{self.index:06d}"

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        # Frames that wait are most of a pipeline's memory: what was read is kept by nobody else.
        bgr, self.bgr = self.bgr, None
        assert bgr is not None, "a frame is read once"
        pixels = rgb_of_array(self.name, bgr, window)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
