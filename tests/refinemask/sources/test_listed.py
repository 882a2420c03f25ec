import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from queue import Queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refinemask.files import UserError
from refinemask.sources import listed
from refinemask.sources.files import Files
from refinemask.sources.images import ImageFile
from refinemask.sources.listed import LONGEST_LINE, ListedPaths
from refinemask.sources.source import Source
from refinemask.sources.standard_input import StandardInputImage
from refinemask.sources.video_file import VideoFile
from refinemask.sources.words import source_of
from tests.support.videos import write_video


def of_path(path: Path) -> Source:
    return Files([ImageFile(path, PurePosixPath(path.stem))])


def written(path: Path, data: bytes) -> ListedPaths:
    path.write_bytes(data)
    return ListedPaths(path, of_path)


def test_one_path_a_line(tmp_path: Path) -> None:
    text = "\ufeffa.png\r\n\n  \nin/b c.png \n/x/图.png"
    source = written(tmp_path / "list.txt", text.encode())
    assert [item.name for item in source] == ["a.png", "in/b c.png ", "/x/图.png"]
    assert (source.total, source.live) == (3, False)


NO_BREAKS = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=9)


@given(st.lists(NO_BREAKS), st.lists(st.integers(1, 9)))
def test_lines_do_not_depend_on_how_they_come(lines: list[str], cuts: list[int]) -> None:
    data = "\n".join(lines).encode()
    blocks = []
    for cut in cuts:
        blocks.append(data[:cut])
        data = data[cut:]
    found = list(listed._lines(iter([*blocks, data])))
    assert found == "\n".join(lines).encode().removesuffix(b"\n").split(b"\n") or not any(lines)


def test_videos_in_a_list(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 3)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.avi\n{tmp_path}/a.png\n")
    source = source_of([], listed=tmp_path / "list.txt", max_frames=2)
    assert source.total is None
    assert [str(item.place) for item in source] == ["a/000000", "a/000001", "a-2"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "names no image; expected one path a line"),
        (b" \n\n", "names no image"),
        (b"a.png\n\x89PNG\0\0\n", "line 2 is no path; expected a text"),
        (b"x" * (LONGEST_LINE + 1), "line 1 is no path; expected a text"),
    ],
)
def test_what_is_no_list(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=f"list.txt: {message}"):
        list(written(tmp_path / "list.txt", data))


def test_a_folder_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        list(ListedPaths(tmp_path, of_path))


def fifo(path: Path) -> ListedPaths:
    os.mkfifo(path)
    return ListedPaths(path, of_path)


def test_a_pipe_is_read_as_its_lines_come(tmp_path: Path) -> None:
    source = fifo(tmp_path / "pipe")
    assert source.total is None
    found: Queue[str] = Queue()
    thread = threading.Thread(target=lambda: [*map(found.put, (item.name for item in source))])
    thread.start()
    with open(tmp_path / "pipe", "w", buffering=1) as pipe:
        for name in ("a.png", "b.png"):
            pipe.write(f"{name}\n")
            assert found.get(timeout=10) == name
        source.close()
        thread.join(10)
        assert not thread.is_alive(), "the writer has not closed the pipe"


@pytest.mark.parametrize("make", [fifo, lambda path: StandardInputImage(PurePosixPath("stdin"), os.pipe()[0])])
def test_waiting_for_a_pipe_ends(tmp_path: Path, make: Callable[[Path], Source]) -> None:
    source = make(tmp_path / "pipe")
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(source))
    thread.start()
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert found == []


def test_closing_ends_a_video_of_a_list(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 9)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.avi\n")
    source = ListedPaths(tmp_path / "list.txt", partial(VideoFile, stem="a"))
    items = iter(source)
    next(items)
    source.close()
    assert list(items) == []
