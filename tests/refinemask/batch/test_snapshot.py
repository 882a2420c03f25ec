"""The references of a job, kept in files of a fixed number of them."""

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from refinemask.batch import snapshot
from refinemask.batch.snapshot import read_references, write_snapshot
from refinemask.batch.storage import Folder
from refinemask.files import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(snapshot, "PART", 10)
    monkeypatch.setattr(snapshot, "GROUP", 4)
    return Folder(str(tmp_path))


def test_any_neighbours_are_read_as_they_were_given(folder: Folder) -> None:
    names = [f"/{number}é.png" for number in range(25)]
    told: list[int] = []
    written = write_snapshot(folder, iter(names), told.append)
    assert folder.names("images") == [f"part-0000{part}.parquet" for part in range(3)]
    assert told == [10, 20, 25]
    assert written.images == 25
    assert written.digest == hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
    for first in range(25):
        for count in range(26 - first):
            assert read_references(folder, first, count) == names[first : first + count]


def test_a_listing_leaves_nothing_of_one_before(folder: Folder) -> None:
    write_snapshot(folder, iter(["/a"] * 25), print)
    write_snapshot(folder, iter(["/b"]), print)
    assert folder.names("images") == ["part-00000.parquet"]


def test_no_image_and_a_line_break_are_refused(folder: Folder) -> None:
    with pytest.raises(UserError, match="no image was given"):
        write_snapshot(folder, iter([]), print)
    with pytest.raises(UserError, match="has a line break"):
        write_snapshot(folder, iter(["/a\n/b"]), print)


def test_a_damaged_missing_or_short_file_is_named(folder: Folder, tmp_path: Path) -> None:
    write_snapshot(folder, iter([f"/{number}" for number in range(25)]), print)
    path = tmp_path / "images" / "part-00001.parquet"
    whole = path.read_bytes()
    for damage in (whole[:-1], whole[:40] + b"~~~~" + whole[44:], b""):
        path.write_bytes(damage)
        with pytest.raises(UserError, match=r"part-00001\.parquet: is damaged"):
            read_references(folder, 8, 10)
    path.write_bytes((tmp_path / "images" / "part-00002.parquet").read_bytes())
    with pytest.raises(UserError, match=r"is damaged|too few"):
        read_references(folder, 8, 10)
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        read_references(folder, 8, 10)
