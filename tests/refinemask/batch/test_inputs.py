"""The images that a job is given: folders, patterns, lists, URLs, here and in what stands for an object store."""

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

fsspec = pytest.importorskip("fsspec")
pa = pytest.importorskip("pyarrow")

from pyarrow import parquet  # noqa: E402

from refinemask.batch.inputs import references  # noqa: E402
from refinemask.batch.storage import local_path  # noqa: E402
from refinemask.files import UserError  # noqa: E402


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for name in ("b.png", "a.jpg", "note.md", "below/c.png"):
        (folder / name).touch()
    return folder


@pytest.fixture
def store() -> Iterator[str]:
    """A file system of fsspec with the same pictures; reading one of s3 goes the same way, but for its driver."""
    files = fsspec.filesystem("memory")
    for name in ("b.png", "a.jpg", "note.md", "below/c.png"):
        files.pipe(f"/bucket/pictures/{name}", b"x")
    yield "memory://bucket/pictures"
    files.rm("/bucket", recursive=True)


def test_a_folder_gives_its_images_by_name(pictures: Path) -> None:
    assert list(references([str(pictures)])) == [f"{pictures}/a.jpg", f"{pictures}/b.png"]
    assert list(references([str(pictures)], recursive=True))[-1] == f"{pictures}/below/c.png"


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image"):
        list(references([str(tmp_path)]))


def test_a_pattern_gives_what_it_matches(pictures: Path) -> None:
    assert list(references([f"{pictures}/**/*.png"])) == [f"{pictures}/b.png", f"{pictures}/below/c.png"]
    with pytest.raises(UserError, match="no file matches"):
        list(references([f"{pictures}/*.gif"]))


def test_images_in_a_list_need_not_exist_and_duplicates_stay(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    Path("list.txt").write_text("gone.png\n")
    assert list(references(["list.txt", "a.jpg", "a.jpg"])) == [
        f"{pictures}/{n}" for n in ("gone.png", "a.jpg", "a.jpg")
    ]


@pytest.mark.parametrize("word", ["gone.png", "gone", "gone/list.parquet"])
def test_a_misspelt_word_is_refused(word: str, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    with pytest.raises(UserError, match=f"^{word}: cannot be read: no such file or folder"):
        list(references(["a.jpg", word]))


def test_a_text_list_gives_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa b.png\r\n\n  \ns3://bucket/x y.png\n/abs.png\nfile:///f.png")
    expected = [f"{tmp_path}/a b.png", "s3://bucket/x y.png", "/abs.png", "/f.png"]
    assert list(references(["list.txt"])) == expected


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\n\n", "names no image"),
        (b"a\0b\n", "line 1 is no path"),
        (b"a\rb\rc\r", "line 1 has a carriage return within"),
        (b"a\r\nb\rc\n", "line 2 has a carriage return within"),
    ],
)
def test_what_is_no_list_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"list\.txt: {why}"):
        list(references([str(tmp_path / "list.txt")]))


def test_a_url_that_is_no_utf8_is_refused_and_a_file_url_is_not(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"s3://bucket/\xff.png\n")
    with pytest.raises(UserError, match=r"^s3://bucket/.*: is no UTF-8"):
        list(references([str(path)]))
    path.write_bytes(b"file:///\xff.png\n")
    assert list(references([str(path)])) == ["file:///%FF.png"]


@pytest.mark.parametrize("name", ["list.csv", "list.txt.gz", "LIST.JSON"])
def test_a_list_of_another_kind_is_refused_and_is_no_image(
    name: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures)
    Path(name).touch()
    for word in (name, f"https://host/{name}?key=1", f"./*{Path(name).suffix}"):
        with pytest.raises(UserError, match=r"is no image and no list that can be read.*\.txt .*\.parquet"):
            list(references([word]))
    # A pattern that matches all has said nothing of lists.
    assert str(pictures / name) in list(references(["*"]))


def test_a_line_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UserError, match="line 1 is no path"):
        list(references([str(path)]))


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    for name in ("list.txt", "list.parquet"):
        with pytest.raises(UserError, match="cannot be read"):
            list(references([str(tmp_path / name)]))


def test_a_name_that_is_no_utf8_becomes_a_url_of_the_same_file(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff%.png"
    open(path, "wb").close()
    [reference] = references([str(tmp_path)])
    assert reference.startswith("file:///")
    assert reference.endswith("/%FF%25.png")
    assert os.fsencode(local_path(reference)) == path


def test_a_parquet_list_gives_a_column(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    table = {"n": [1, 2], "url": pa.array(["/a.png", "s3://b/c.png"]).dictionary_encode(), "other": ["x", "y"]}
    parquet.write_table(pa.table(table), path)
    assert list(references([str(path)], column="url")) == ["/a.png", "s3://b/c.png"]
    with pytest.raises(UserError, match="expected --column with one of: url, other"):
        list(references([str(path)]))
    with pytest.raises(UserError, match="no column 'n' of text"):
        list(references([str(path)], column="n"))
    parquet.write_table(pa.table({"n": [1], "only": ["/a.png"]}), path)
    assert list(references([str(path)])) == ["/a.png"]


def test_an_empty_cell_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    parquet.write_table(pa.table({"image": ["/a.png", None]}), path)
    with pytest.raises(UserError, match="row 2 of column 'image' is empty"):
        list(references([str(path)]))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"list\.parquet: cannot be read"):
        list(references([str(path)]))


def test_a_store_gives_folders_patterns_and_lists(store: str) -> None:
    assert list(references([store])) == [f"{store}/a.jpg", f"{store}/b.png"]
    assert list(references([store], recursive=True)) == [f"{store}/{n}" for n in ("a.jpg", "b.png", "below/c.png")]
    assert list(references([f"{store}/*.png"])) == [f"{store}/b.png"]
    assert list(references([f"{store}/**/*.png"])) == [f"{store}/b.png", f"{store}/below/c.png"]
    assert list(references([f"{store}/**"])) == [f"{store}/{n}" for n in ("a.jpg", "b.png", "below/c.png", "note.md")]
    fsspec.filesystem("memory").pipe("/bucket/list.txt", f"{store}/a.jpg\n/here.png\n".encode())
    assert list(references(["memory://bucket/list.txt"])) == [f"{store}/a.jpg", "/here.png"]
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"image": [f"{store}/b.png"]}), sink)
    fsspec.filesystem("memory").pipe("/bucket/list.parquet", sink.getvalue().to_pybytes())
    assert list(references(["memory://bucket/list.parquet"])) == [f"{store}/b.png"]


def test_a_store_without_images_or_matches_is_refused(store: str) -> None:
    fsspec.filesystem("memory").pipe("/bucket/texts/a.md", b"x")
    with pytest.raises(UserError, match="holds no image"):
        list(references(["memory://bucket/texts"]))
    with pytest.raises(UserError, match="no file matches"):
        list(references([f"{store}/*.gif"]))
    with pytest.raises(UserError, match="cannot be a pattern"):
        list(references(["memory://buck*/a.png"]))


def test_an_unknown_scheme_says_what_is_known() -> None:
    with pytest.raises(UserError, match=r"cannot be reached.*s3://"):
        list(references(["nothing://a/b"]))


def test_a_list_of_any_length_takes_the_same_memory(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"

    def peak(lines: int) -> int:
        with open(path, "w") as file:
            file.writelines(f"/pictures/of/somebody/{number:09d}.jpg\n" for number in range(lines))
        tracemalloc.start()
        assert sum(1 for _ in references([str(path)])) == lines
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    # A hundred thousand names take 8 MB where they are kept.
    assert peak(100_000) < peak(10_000) + (1 << 19)
