import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refinemask.files import UserError
from refinemask.sources.item import Item
from refinemask.sources.live import LiveVideo
from refinemask.sources.source import Chain
from refinemask.sources.words import source_of
from tests.support.videos import write_video

ROOT = Path(__file__).resolve().parents[3]


def png() -> bytes:
    file = BytesIO()
    Image.fromarray(np.full((6, 8, 3), 50, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with images in folders."""
    for name in ("b.png", "a.png", "in/c.png", "in/a.png", "in/deep/a.png", "in/.hidden/d.png", "in/deep/.e.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(items: list[Item]) -> list[str]:
    return [f"{item.path} {item.place}" for item in items]


def test_files_and_folders_are_what_they_were(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "in" / "clip.mp4").write_bytes(b"")
    source = source_of(["b.png", "in", tree / "a.png", "in/c.png", "nowhere.png"])
    items = list(source)
    assert names(items) == [
        "b.png b",
        "in/a.png a",
        "in/c.png c",
        f"{tree}/a.png a-2",
        "in/c.png c-2",
        "nowhere.png nowhere",
    ]
    assert (source.total, source.live, source.dropped) == (6, False, 0)
    assert capsys.readouterr().err == "in: left out: 1 file of another kind: .mp4\n"
    assert items[1].read(None).shape == (6, 8, 3)
    with pytest.raises(UserError, match=r"^nowhere\.png: cannot be read: No such file"):
        items[-1].read(None)


@pytest.mark.parametrize("word", ["in", Path("in")])
def test_one_word_needs_no_list(tree: Path, word: str | Path) -> None:
    assert names(list(source_of(word))) == ["in/a.png a", "in/c.png c"]


def test_folders_below_are_mirrored(tree: Path) -> None:
    (tree / "in" / "deep" / "loop").symlink_to(tree / "in")
    (tree / "in" / "deep" / "self").symlink_to(".")
    (tree / "other").mkdir()
    (tree / "other" / "z.png").write_bytes(png())
    (tree / "in" / "link").symlink_to(tree / "other")
    assert names(list(source_of(["in"], recursive=True))) == [
        "in/a.png a",
        "in/c.png c",
        "in/deep/.e.png deep/.e",
        "in/deep/a.png deep/a",
        "in/link/z.png link/z",
    ]


def test_a_folder_has_an_image_only_below(tree: Path) -> None:
    (tree / "outer" / "inner").mkdir(parents=True)
    (tree / "outer" / "inner" / "a.png").write_bytes(png())
    with pytest.raises(UserError, match=r"^outer: the folder holds no image"):
        source_of(["outer"])
    assert names(list(source_of(["outer"], recursive=True))) == ["outer/inner/a.png inner/a"]


def test_a_folder_of_videos_tells_how_they_are_given(tree: Path) -> None:
    (tree / "clips").mkdir()
    write_video(tree / "clips" / "a.AVI", 1)
    with pytest.raises(UserError, match=r"^clips: the folder holds no image .*; for its videos give 'clips/\*\.AVI'$"):
        source_of(["clips"])
    assert len(list(source_of(["clips/*.AVI"]))) == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["a.png a", "b.png b"]),
        ("in/?.png", ["in/a.png a", "in/c.png c"]),
        ("in/[b-d].png", ["in/c.png c"]),
        ("i*/a.png", ["in/a.png in/a"]),
        ("**/a.png", ["a.png a", "in/a.png in/a", "in/deep/a.png in/deep/a"]),
        ("in/**", ["in/a.png a", "in/c.png c", "in/deep/a.png deep/a"]),
        ("in/.h*/*", ["in/.hidden/d.png .hidden/d"]),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: list[str]) -> None:
    (tree / "in" / "deep" / "loop").symlink_to(tree / "in")
    assert names(list(source_of([pattern]))) == expected
    absolute = [f"{tree}/{name}" for name in expected]
    assert names(list(source_of([f"{tree}/{pattern}"]))) == absolute


def test_a_file_whose_name_looks_like_something_else_is_that_file(tree: Path) -> None:
    for name in ("a[1].png", "0", "camera:0", "*.png"):
        (tree / name).write_bytes(png())
    assert names(list(source_of(["a[1].png", "0", "camera:0", "*.png"]))) == [
        "a[1].png a[1]",
        "0 0",
        "camera:0 camera:0",
        "*.png *",
    ]


def test_a_video_between_images(tree: Path) -> None:
    write_video(tree / "a.avi", 3)
    (tree / "in" / "a.avi").write_bytes(b"hello" * 99)
    source = source_of(["a.png", "a.avi", "in/a.avi", "b.png"], every=2)
    items = list(source)
    assert [str(item.place) for item in items] == ["a", "a-2/000000", "a-2/000002", "a-3", "b"]
    assert source.total == 5
    with pytest.raises(UserError, match=r"^in/a\.avi: cannot be read: no video"):
        items[3].read(None)


@pytest.mark.parametrize(
    ("word", "name", "place"),
    [
        ("0", "camera 0", "camera0"),
        ("camera:12", "camera 12", "camera12"),
        ("rtsp://me:secret@10.0.0.5:554/live/1?token=secret", "rtsp://10.0.0.5:554/live/1", "10.0.0.5-live-1"),
        ("https://cam.example/stream.m3u8", "https://cam.example/stream.m3u8", "cam.example-stream.m3u8"),
    ],
)
def test_cameras_and_streams(tree: Path, word: str, name: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of([word, word], max_frames=7)
    assert isinstance(source, Chain)
    first, second = source.parts
    assert isinstance(first, LiveVideo)
    assert isinstance(second, LiveVideo)
    assert (first._name, first._stem, second._stem) == (name, place, f"{place}-2")
    assert source.live
    assert source.total == 14


def test_a_camera_that_is_not_there(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    [item] = source_of(["camera:999"])
    with pytest.raises(UserError, match=r"^camera 999: cannot be opened.*is it connected"):
        item.read(None)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {}, "no image was given; expected files"),
        (["nothing*.png"], {}, r"nothing\*.png: no file matches"),
        (["http://x.org/a.JPG"], {}, "http://x.org/a.JPG: is a file and no stream; download it"),
        (["https://u:secret@x.org/a.mp4?t=1"], {}, "^https://x.org/a.mp4: is a file and no stream"),
        (["ftp://x.org/a"], {}, "^ftp://x.org/a: is no address of a stream; expected one of rtsp://"),
        (["rtsp:///a"], {}, "^rtsp:///a: is no address of a stream"),
        (["rtsp://[a"], {}, r"^rtsp://\[a: is no address"),
        (["-"], {"listed": "-"}, "standard input can be read once"),
        (["-", "-"], {}, "standard input can be read once"),
        (["a.png"], {"every": 0}, "--every is 0; expected at least 1"),
        (["a.png"], {"max_frames": 0}, "--max-frames is 0; expected at least 1"),
        ([], {"listed": "nowhere.txt"}, "nowhere.txt: no such file"),
    ],
)
def test_what_is_no_source(tree: Path, words: list[str], options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        source_of(words, **options)
    assert "secret" not in str(caught.value)


SCRIPT = """
from refinemask.sources.words import source_of
for item in source_of({words}, listed={listed}):
    try:
        print(item.name, item.place, item.read(None).shape, flush=True)
    except Exception as error:
        print(error, flush=True)
import sys; assert "torch" not in sys.modules
"""


def run(words: list[str], listed: str | None) -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(words=words, listed=repr(listed))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(), "standard input stdin (6, 8, 3)"),
        (b"hello", "standard input: not an image of a known format"),
        (b"", "standard input: the file is empty, expected an image"),
    ],
)
def test_one_image_on_standard_input(data: bytes, expected: str) -> None:
    done = subprocess.run(run(["-"], None), input=data, capture_output=True, cwd=ROOT, check=True, timeout=60)
    assert done.stdout.decode().startswith(expected)


def test_results_come_as_paths_come_on_standard_input(tree: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(run([], "-"), cwd=tree, env=environment, **pipes) as process:  # type: ignore[call-overload]
        for line in ("a.png a (6, 8, 3)", "in/a.png a-2 (6, 8, 3)"):
            process.stdin.write(f"{line.split()[0]}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{line}\n", "the pipe is still open"
        process.stdin.close()
        assert re.fullmatch("", process.stdout.read())
        assert process.wait(60) == 0


@pytest.mark.parametrize("words", [{"words": ["-"]}, {"words": [], "listed": "-"}])
def test_standard_input_that_is_closed_is_an_error(words: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="standard input is closed"):
        source_of(**words)
