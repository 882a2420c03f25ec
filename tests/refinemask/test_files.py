import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from refinemask import files
from refinemask.files import UserError, atomic_write, remove_abandoned, require_not_input
from refinemask.locks import lock

WRITER = """
import os, sys
from refinemask.files import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    sys.stdin.read()
"""


def write(path: Path, text: str = "new") -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def writer(path: Path) -> "subprocess.Popen[str]":
    """A process that has half written ``path`` and waits."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    with writer(tmp_path / "a.json") as killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().strip())
        killed.send_signal(signal.SIGKILL)
    assert left.read_text() == "half"
    write(tmp_path / "b.json")
    assert left.exists(), "it is no file of b.json"
    write(tmp_path / "a.json")
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"]


def test_what_was_left_of_many_files_is_removed_at_once(tmp_path: Path) -> None:
    with writer(tmp_path / "a.json") as killed, writer(tmp_path / "b") as alive:
        assert killed.stdout is not None
        assert alive.stdout is not None
        left, written = (Path(each.stdout.readline().strip()) for each in (killed, alive) if each.stdout is not None)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        (tmp_path / ".hidden").write_text("precious")
        with atomic_write(tmp_path / "a.json", one_of_many=True) as temporary:
            temporary.write_text("new")
        assert left.exists()
        remove_abandoned(tmp_path)
        assert sorted(os.listdir(tmp_path)) == sorted([".hidden", "a.json", written.name])
        alive.communicate("")


def test_a_second_writer_leaves_the_first_ones_file(tmp_path: Path) -> None:
    with writer(tmp_path / "a.json") as first:
        assert first.stdout is not None
        temporary = Path(first.stdout.readline().strip())
        write(tmp_path / "a.json")
        assert temporary.read_text() == "half"
        first.communicate("")
    assert (tmp_path / "a.json").read_text() == "half"


@pytest.mark.parametrize(
    "name", ["a" * 255, "a." + "b" * 253, "字" * 85, "." + "a" * 254, os.fsdecode(b"\xff\xfe.json")]
)
def test_every_name_that_the_file_system_takes_is_written(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_a_name_that_is_too_long_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: File name too long"):
        write(tmp_path / ("a" * 256))


def test_the_data_reach_the_disk_before_they_get_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    synced, replaced = os.fsync, os.replace

    def fsync(handle: int) -> None:
        events.append("directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "data")
        synced(handle)

    def replace(source: Path, target: Path) -> None:
        events.append("name")
        replaced(source, target)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(files.os, "replace", replace)
    write(tmp_path / "a.json")
    assert events == ["data", "name", "directory"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_followed(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "real.json", tmp_path / "link.json"
    if exists:
        target.write_text("old")
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path / "there") == ["real.json"]


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/null")):
        before = path.stat().st_mode
        with pytest.raises(UserError, match=r"is a directory|is no regular file"):
            write(path)
        assert path.stat().st_mode == before


def test_a_circle_of_links_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match="a: cannot be written: Too many levels of symbolic links"):
        write(tmp_path / "a")


def test_a_directory_that_vanishes_is_one_error(tmp_path: Path) -> None:
    def lose_directory() -> None:
        with atomic_write(tmp_path / "gone" / "a.json") as temporary:
            temporary.unlink()
            temporary.parent.rmdir()

    with pytest.raises(UserError, match="cannot be written: its directory has vanished"):
        lose_directory()


def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no full device")
    with (
        pytest.raises(UserError, match=r"a\.json: cannot be written: No space left on device"),
        atomic_write(tmp_path / "a.json"),
    ):
        full.write_text("new")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_known_by_the_words_of_a_writer_in_rust(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"a\.safetensors: cannot be written: No space left on device$"),
        atomic_write(tmp_path / "a.safetensors"),
    ):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_an_error_of_the_writer_itself_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a.json"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_no_name_of_an_input_is_taken_as_output(tmp_path: Path) -> None:
    data, link, hard = tmp_path / "data.json", tmp_path / "link.json", tmp_path / "hard.json"
    data.write_text("precious")
    link.symlink_to(data)
    hard.hardlink_to(data)
    for output in (data, link, hard, tmp_path / "." / "data.json"):
        with pytest.raises(UserError, match="is read by this very command"):
            require_not_input(output, None, tmp_path / "absent", data)
    require_not_input(tmp_path / "new.json", data)
    require_not_input(data, tmp_path / "absent", None)


@pytest.mark.parametrize("removed", [True, False])
def test_a_file_that_another_writer_takes_for_abandoned_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    made: list[str] = []
    other: list[int] = []

    def raced(**options: Any) -> tuple[int, str]:
        handle, name = tempfile.mkstemp(**options)
        if not made:
            # What another writer does before this one has locked its file.
            other.append(os.open(name, os.O_RDONLY))
            assert lock(other[0])
            if removed:
                os.unlink(name)
                os.close(other.pop())
        made.append(name)
        return handle, name

    monkeypatch.setattr(files, "tempfile", SimpleNamespace(mkstemp=raced))
    write(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "new"
    assert len(made) == 2
    for handle in other:
        os.close(handle)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written: .*null"), atomic_write(tmp_path / "a\0b"):
        pass


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    expected = pytest.raises(UserError, match=r"b\.json: cannot be written: .*a is a file, expected a folder$")
    with expected, atomic_write(tmp_path / "a" / "b.json"):
        pass
