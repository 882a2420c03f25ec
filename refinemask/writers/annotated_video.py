"""Drawings of videos: an MP4 file for each."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from refinemask.files import UserError
from refinemask.prediction import DRAWN_SCORE, Prediction
from refinemask.sources.item import Item, Video
from refinemask.writers.mp4 import Mp4, even, playable_rate
from refinemask.writers.naming import json_text
from refinemask.writers.own_files import OwnFiles
from refinemask.writers.pictures import Pictures
from refinemask.writers.writer import Writer


class AnnotatedVideo(Writer):
    """Writes ``FOLDER/STEM.mp4`` for each video, and the drawing of each image that is no frame.

    A video takes its place when the next one begins or the block ends; one that was interrupted has the frames until
    then. Where a frame could not be used, the picture before it is shown again, so that no other frame moves. Of a
    camera or stream each picture is shown as long as it was the newest. All frames have the size of the first drawing.
    """

    def __init__(self, folder: Path, min_score: float = DRAWN_SCORE, inputs: Iterable[Path] | None = ()) -> None:
        """Prepare the folder.

        Args:
            folder: the output folder.
            min_score: lowest score of a detection that is drawn.
            inputs: files that no output may replace; None if they are not known.

        Raises:
            UserError: the folder is a file, or a package that draws is missing.
        """
        inputs = None if inputs is None else tuple(inputs)
        self._files = OwnFiles(folder, inputs)
        self._pictures = Pictures(folder, min_score, inputs)
        self._min_score = min_score
        self._video: Video | None = None
        self._open = ExitStack()
        self._mp4: Mp4 | None = None
        self._owed = 0
        """Frames that could not be used before there was a picture."""

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | bytes:
        """The drawing of a frame, [h, w, 3] uint8 RGB with even sides; of another image, its PNG.

        Raises:
            UserError: an input would be overwritten, or the drawing cannot be made.
        """
        if item.video is None:
            return self._pictures.render(item, prediction, pixels)
        self._path(item, item.video)
        return even(prediction.draw(pixels, min_score=self._min_score))

    def write(self, item: Item, prediction: Prediction, rendered: NDArray[np.uint8] | bytes) -> None:
        """Add a frame to its video, or write a picture.

        Raises:
            UserError: it cannot be written.
        """
        if isinstance(rendered, bytes):
            self._finish()
            self._pictures.write(item, prediction, rendered)
            return
        assert item.video is not None
        self._begin(item.video)
        if self._mp4 is None:
            mp4 = Mp4(self._path(item, item.video), item.video.fps, rendered.shape[:2])
            self._mp4 = self._open.enter_context(mp4)
        missing = self._missing(item, self._mp4)
        for _ in range(missing):
            if self._mp4.frames:
                self._mp4.repeat()
            else:
                self._mp4.add(rendered)
        if missing >= 0:
            self._mp4.add(rendered)
        self._owed = 0

    def fail(self, item: Item, error: UserError) -> None:
        """Show the picture before again, or if there is none, the next one earlier."""
        if item.video is None:
            return
        self._begin(item.video)
        if self._mp4 is None:
            self._owed += 1
        else:
            self._mp4.repeat()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the video.

        Raises:
            UserError: it cannot be written.
        """
        self._finish()

    def _missing(self, item: Item, mp4: Mp4) -> int:
        """Number of frames to show before an item's; below 0 the item's comes too soon."""
        assert item.video is not None
        if item.video.path is not None or item.seconds is None:
            return self._owed
        # Frames of a camera are dropped, and few cameras keep to the rate that they promise.
        return round(item.seconds * playable_rate(item.video.fps)) - mp4.frames

    def _path(self, item: Item, video: Video) -> Path:
        return self._files.checked(self._files.folder / f"{json_text(video.stem)}.mp4", item)

    def _begin(self, video: Video) -> None:
        if self._video is None or video.stem != self._video.stem:
            self._finish()
            self._video = video

    def _finish(self) -> None:
        self._video, self._mp4, self._owed = None, None, 0
        # What is written is whole, whatever ended the block.
        self._open.close()
