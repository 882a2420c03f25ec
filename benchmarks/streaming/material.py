"""Images and a video of the bundled photographs."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from refinemask.bundled import PHOTOS
from refinemask.data.images import read_image
from refinemask.files import UserError

FRAMES_PER_SECOND = 30
DRIFT = 2
"""Pixels by which the picture of the video moves from frame to frame."""
FRAMES_PER_PHOTO = 60
LEVELS = 200
"""Steps of brightness by which copies of a photograph differ."""


def photos(height: int, width: int) -> list[NDArray[np.uint8]]:
    """The bundled photographs [height, width, 3] BGR, stretched to one size."""
    files = sorted((PHOTOS / "images").iterdir())
    return [cv2.resize(read_image(file)[:, :, ::-1], (width, height)).astype(np.uint8, copy=False) for file in files]


def write_jpegs(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """So many JPEG files of one size; when the photographs come again, they are darker."""
    pictures, paths = photos(height, width), []
    for number in range(count):
        again, index = divmod(number % (len(pictures) * LEVELS), len(pictures))
        paths.append(folder / f"{number:04d}.jpg")
        _, data = cv2.imencode(".jpg", np.maximum(pictures[index], again) - again)
        paths[-1].write_bytes(data.tobytes())
    return paths


def write_video(path: Path, seconds: float, height: int, width: int) -> int:
    """Write a video of moving photographs; returns its number of frames.

    Raises:
        UserError: OpenCV cannot write videos here.
    """
    # Larger than a frame by as much as it moves.
    margin = DRIFT * FRAMES_PER_PHOTO
    pictures = photos(height, width + margin)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FRAMES_PER_SECOND, (width, height))
    if not writer.isOpened():
        raise UserError(f"{path}: OpenCV cannot write MPEG-4 videos here; leave the video out (--video-seconds 0)")
    frames = round(seconds * FRAMES_PER_SECOND)
    for frame in range(frames):
        shot, moved = divmod(frame, FRAMES_PER_PHOTO)
        left = moved * DRIFT
        writer.write(np.ascontiguousarray(pictures[shot % len(pictures)][:, left : left + width]))
    writer.release()
    return frames
