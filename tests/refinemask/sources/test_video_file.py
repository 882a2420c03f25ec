import os
from pathlib import Path

import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.sources.video_file import VideoFile
from tests.support.videos import FakeCapture, grey, number_of, turn, write_video


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_every_frame_comes_in_order_and_stays_what_it_is(tmp_path: Path, name: str) -> None:
    source = VideoFile(write_video(tmp_path / name, 24), "a")
    assert (source.live, source.total) == (False, 24)
    items = list(source)
    images = [item.read(None) for item in items]
    assert [number_of(image) for image in images] == list(range(24))
    assert [str(item.place) for item in items[:2]] == ["a/000000", "a/000001"]
    assert items[3].name == f"{tmp_path / name}: frame 3"
    video = items[0].video
    assert video is not None
    assert all(item.video is video for item in items)
    assert (video.fps, video.frames, video.path, items[0].path) == (20.0, 24, tmp_path / name, None)
    np.testing.assert_allclose(images[1][4, 4], (0, 0, 255), atol=40, err_msg="RGB, and blue is last")


@pytest.mark.parametrize(
    ("every", "most", "numbers"),
    [(5, None, [0, 5, 10]), (1, 3, [0, 1, 2]), (4, 2, [0, 4]), (20, None, [0]), (1, 99, [*range(11)])],
)
def test_every_and_max_frames(tmp_path: Path, every: int, most: int | None, numbers: list[int]) -> None:
    source = VideoFile(write_video(tmp_path / "a.avi", 11), "a", every=every, max_frames=most)
    items = list(source)
    assert [number_of(item.read(None)) for item in items] == numbers
    assert [int(item.place.name) for item in items] == numbers
    assert source.total == len(numbers)
    assert items[0].video is not None
    assert (items[0].video.fps, items[0].video.frames) == (20.0 / every, len(numbers))


def test_max_frames_decodes_no_frame_behind_the_last() -> None:
    grabbed: list[int] = []
    capture = FakeCapture(100, wait=lambda: grabbed.append(1))
    assert len(list(VideoFile(Path("a.avi"), "a", every=3, max_frames=4, opened=lambda _: capture))) == 4
    assert len(grabbed) == 10
    assert capture.released


@pytest.mark.parametrize(("degrees", "blue"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_frames_are_upright(tmp_path: Path, degrees: int, blue: tuple[int, int]) -> None:
    [image] = (item.read(None) for item in VideoFile(turn(write_video(tmp_path / "a.mp4", 1), degrees), "a"))
    assert image.shape == ((48, 64, 3) if degrees == 180 else (64, 48, 3))
    np.testing.assert_allclose(image[blue], (0, 0, 255), atol=40)


def test_a_video_that_is_cut_short_gives_what_it_has(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_video(tmp_path / "a.avi", 100).read_bytes()
    (tmp_path / "a.avi").write_bytes(data[: len(data) * 2 // 3])
    items = list(VideoFile(tmp_path / "a.avi", "a"))
    assert [number_of(item.read(None)) for item in items] == [number % 25 for number in range(len(items))]
    assert 50 < len(items) < 80
    line = f"a.avi: ended after {len(items)} of the 100 frames that its header promises"
    [found] = capfd.readouterr().err.splitlines()
    assert line in found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"hello" * 1000, "a.mp4: cannot be read: no video of a known format, or damaged"),
        ("a.mp4", b"", "a.mp4: is empty"),
        ("a.mp4", b"<!DOCTYPE html><html>", "a.mp4: is a web page"),
        ("a.mp4", None, "a.mp4: no such file"),
        ("a\xff.mp4", b"hello" * 1000, "its name is no UTF-8, which OpenCV needs"),
    ],
)
def test_what_is_no_video_is_one_item(
    tmp_path: Path, name: str, content: bytes | None, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name.encode("latin1")))
    if content is not None:
        path.write_bytes(content)
    source = VideoFile(path, "a")
    [item] = source
    assert source.total == 1
    assert str(item.place) == "a"
    with pytest.raises(UserError, match=message):
        item.read(None)
    assert capfd.readouterr().err == ""


def test_a_video_without_frames_is_one_item() -> None:
    [item] = VideoFile(Path("a.avi"), "a", opened=lambda _: FakeCapture(0))
    with pytest.raises(UserError, match=r"^a\.avi: holds no frame that can be decoded"):
        item.read(None)


def test_the_file_is_closed_when_the_iteration_is() -> None:
    capture = FakeCapture(100)
    source = VideoFile(Path("a.avi"), "a", opened=lambda _: capture)
    items = iter(source)
    assert np.array_equal(next(items).read(None), grey(0)[..., ::-1])
    source.close()
    assert list(items) == []
    assert capture.released


def test_frames_that_are_too_large_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.avi", 3)
    monkeypatch.setattr("refinemask.sources.captures.LARGEST_PICTURE", 48 * 64 * 6 - 1)
    [item] = VideoFile(path, "a")
    with pytest.raises(UserError, match=r"a\.avi: its frames of 48x64 pixels are too large to decode safely"):
        item.read(None)
