"""A video through the pipeline, and how much memory it takes."""

import os
import tempfile
import time
from itertools import count
from pathlib import Path

from benchmarks.harness.load import ForeignLoad
from benchmarks.streaming.material import FRAMES_PER_SECOND, write_video
from benchmarks.streaming.memory import peak_mib
from benchmarks.streaming.report import VideoReport
from benchmarks.streaming.simulated import CONCURRENCY
from benchmarks.streaming.waiting import Found, WaitingPredictor
from refinemask.files import FailedCheckError
from refinemask.sources.video_file import VideoFile
from refinemask.streaming.stream import stream

FIRST_SECONDS = 10
"""Length of the beginning of the video, after which memory is measured first."""


def measure_video(seconds: float, milliseconds: float, size: tuple[int, int], found: Found) -> VideoReport:
    """Write a video of this (height, width) and let its frames pass through the pipeline, in this process.

    Args:
        seconds: length of the video.
        milliseconds: time of a frame on the device.
        size: (height, width) of its frames in pixels.
        found: what the detector finds.

    Raises:
        UserError: OpenCV cannot write or read videos here.
        FailedCheckError: not every frame has a result.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.mp4"
        frames = write_video(path, seconds, *size)
        first_frames = min(frames, FIRST_SECONDS * FRAMES_PER_SECOND)
        predictor = WaitingPredictor(milliseconds / 1e3, CONCURRENCY, found)
        pipeline = stream(predictor, VideoFile(path, path.stem))
        peak_mib_first, number = None, 0
        load, start = ForeignLoad([os.getpid()]), time.perf_counter()
        for number, result in zip(count(1), pipeline.results(), strict=False):
            if result.error is not None:
                raise result.error
            if number == first_frames:
                peak_mib_first = peak_mib()
        elapsed, foreign = time.perf_counter() - start, load.fraction()
    if number != frames:
        raise FailedCheckError(f"{number} frames of the video have results; expected {frames}")
    return VideoReport(
        seconds=seconds,
        frames=frames,
        height=size[0],
        width=size[1],
        images_per_second=round(frames / elapsed, 2),
        limit=pipeline.meter.limit(),
        first_frames=first_frames,
        peak_mib_first=peak_mib_first,
        peak_mib=peak_mib(),
        foreign_load=foreign,
    )
