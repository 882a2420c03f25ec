"""One playable video for each video, whose frames stay where they were."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from refinemask.files import UserError
from refinemask.writers import mp4
from refinemask.writers.annotated_video import AnnotatedVideo
from refinemask.writers.mp4 import playable_rate
from tests.support.written import BROKEN, boxes_of, clip, frame, prediction, put, still

SHAPE = 48, 64
FOUND = prediction(boxes_of(shape=SHAPE))
TONES = 40
"""Grey values between two frames, far more than the codec changes."""


def grey(index: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    return np.full((*shape, 3), index * TONES, np.uint8)


def write(folder: Path, frames: int, error: BaseException | None = None) -> None:
    """Write a video, and end the block by an error."""
    with AnnotatedVideo(folder) as writer:
        for index in range(frames):
            put(writer, frame(clip(), index), FOUND, grey(index))
        if error is not None:
            raise error


def read(path: Path) -> tuple[list[int], float, tuple[int, int]]:
    """The number of the grey of each frame, the frames per second, and (height, width)."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert frames, f"{path} has no frame"
    numbers = [round(float(picture.mean()) / TONES) for picture in frames]
    return numbers, video.get(cv2.CAP_PROP_FPS), frames[0].shape[:2]


def test_a_video_for_each_and_pictures_for_the_rest(tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path) as writer:
        for stem in ("one", "two"):
            for index in range(5):
                put(writer, frame(clip(stem, 12.5), index), FOUND, grey(index))
        assert read(tmp_path / "one.mp4")[0] == [0, 1, 2, 3, 4], "complete when the next begins"
        assert not (tmp_path / "two.mp4").exists()
        put(writer, still(Path("a.jpg")), FOUND, grey(0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "one.mp4", "two.mp4"]
    assert read(tmp_path / "two.mp4") == ([0, 1, 2, 3, 4], 12.5, (480, 640))


def test_failed_frames_move_no_other(tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path) as writer:
        for index in range(7):
            if index in (0, 1, 3, 6):
                writer.fail(frame(clip(), index), BROKEN)
            else:
                put(writer, frame(clip(), index), FOUND, grey(index))
    assert read(tmp_path / "clip.mp4")[0] == [2, 2, 2, 2, 4, 5, 5]


def test_a_video_of_a_camera_lasts_as_long_as_what_was_seen(tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path) as writer:
        # Frames 1, 2 and 5 were dropped, and the camera gives more than the ten a second that it promises.
        for index, seconds in ((0, 0.0), (3, 0.31), (4, 0.34), (6, 0.6)):
            put(writer, replace(frame(clip("cam"), index), seconds=seconds), FOUND, grey(index))
    assert read(tmp_path / "cam.mp4")[0] == [0, 0, 0, 3, 3, 3, 6]


def test_a_video_without_a_frame_is_not_written(tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path) as writer:
        writer.fail(frame(clip(), 0), BROKEN)
    assert list(tmp_path.iterdir()) == []


def test_colours_and_what_was_found_are_shown(tmp_path: Path) -> None:
    red = np.zeros((*SHAPE, 3), np.uint8)
    red[..., 0] = 200
    with AnnotatedVideo(tmp_path) as writer:
        put(writer, frame(clip(), 0), prediction(boxes_of((30, 10, 60, 40), shape=SHAPE)), red)
    _, picture = cv2.VideoCapture(str(tmp_path / "clip.mp4")).read()
    blue_green_red = picture[:400, :250].mean(axis=(0, 1))
    assert blue_green_red[2] > 180
    assert max(blue_green_red[:2]) < 20
    changed = np.abs(picture.astype(int) - [0, 0, 200]).sum(axis=2) > 60
    assert changed[100:400, 300:600].mean() > 0.5


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_written_until_an_interruption_plays(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write(tmp_path, 3, error())
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert read(tmp_path / "clip.mp4")[0] == [0, 1, 2]


@pytest.mark.parametrize("shape", [(33, 101), (7, 2001)])
def test_odd_and_changing_sizes(tmp_path: Path, shape: tuple[int, int]) -> None:
    with AnnotatedVideo(tmp_path) as writer:
        put(writer, frame(clip(), 0), prediction(boxes_of(shape=shape)), grey(1, shape))
        put(writer, frame(clip(), 1), FOUND, grey(3))
    numbers, _, (height, width) = read(tmp_path / "clip.mp4")
    assert numbers == [1, 3]
    assert (height % 2, width % 2) == (0, 0)


@pytest.mark.parametrize(
    ("given", "written"),
    [(29.97, 29.97), (30000 / 1001, 29.97), (60000 / 1001, 59.94), (1 / 3, 0.333), (100.123, 100.12), (0.0, 25.0),
     (float("nan"), 25.0), (1e9, 25.0), (1e-9, 0.01), (1000.0, 1000.0)],
)  # fmt: skip
def test_every_rate_is_written(tmp_path: Path, given: float, written: float) -> None:
    assert playable_rate(given) == written
    with AnnotatedVideo(tmp_path) as writer:
        for index in range(2):
            put(writer, frame(clip(fps=given), index), FOUND, grey(index))
    assert read(tmp_path / "clip.mp4")[1] == pytest.approx(written, rel=1e-3)


@pytest.mark.parametrize("given", ["clip.mp4", "clip.avi"])
@pytest.mark.parametrize("inputs", [(), None])
def test_an_input_and_a_video_beside_it_are_not_replaced(
    tmp_path: Path, given: str, inputs: tuple[Path, ...] | None
) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"precious")
    with (
        AnnotatedVideo(tmp_path, inputs=inputs) as writer,
        pytest.raises(UserError, match="is one of the files to read"),
    ):
        put(writer, frame(clip(path=tmp_path / given), 0), FOUND, grey(0))
    assert source.read_bytes() == b"precious"


def test_a_video_that_does_not_fit_gets_no_name(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"clip\.mp4: cannot be written: only 0 of its 6 frames arrived; make room"):
            write(tmp_path, 6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names there are UTF-8")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    bad = os.fsdecode(b"\xff")
    with AnnotatedVideo(tmp_path) as writer:
        put(writer, frame(clip(bad), 0), FOUND, grey(1))
    assert read(tmp_path / "\ufffd.mp4")[0] == [1]
    with pytest.raises(UserError, match=r"the folder's name is no UTF-8, as videos need; give another folder"):
        write(tmp_path / bad, 1)


def test_a_codec_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4, "CODEC", "none")
    with pytest.raises(UserError, match=r"OpenCV makes no MP4 of 640x480 pixels and 10 frames per second \(none\)"):
        write(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_between_a_frame_and_its_count_loses_no_video(tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path) as writer:
        for index in range(3):
            put(writer, frame(clip(), index), FOUND, grey(index))
        assert writer._mp4 is not None
        writer._mp4._frames -= 1
    assert read(tmp_path / "clip.mp4")[0] == [0, 1, 2]
