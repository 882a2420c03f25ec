"""The images that a job is given, as references one by one: folders, patterns, lists, URLs. Imports no PyTorch."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import quote

from refinemask.batch.storage import (
    WEB,
    file_system,
    is_remote,
    local_path,
    opened,
    read_bytes,
    readable,
    scheme_of,
    shown,
)
from refinemask.data.images import IMAGE_SUFFIXES, images_of
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.sources.listed import BYTE_ORDER_MARK, LONGEST_LINE
from refinemask.sources.patterns import SIGNS, matches

TEXT_LIST, PARQUET_LIST = ".txt", ".parquet"
"""Endings of lists of references."""
OTHER_LISTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".xlsx")
"""Endings of lists that are not read, and no images either."""
ROWS_AT_ONCE = 10_000
"""References that are read from a Parquet list at once."""


def references(words: Sequence[str], *, column: str | None = None, recursive: bool = False) -> Iterator[str]:
    """The references of what a command line gives, in its order; paths of this machine become absolute.

    A word is, here or in an object store:

    - a folder: its image files by name;
    - a pattern, which has ``*``, ``?`` or ``[``: the files that match, by name;
    - a text file, ``.txt``: the paths or URLs in it, one a line;
    - a Parquet file, ``.parquet``: the paths or URLs in a column;
    - anything else: an image.

    Lists of other kinds, such as ``.csv``, are refused where the word itself has such an ending.

    A word of this machine or of an object store must exist, since it may be misspelt; what a list names need not.

    The names of one folder are held in memory while they are sorted; lists are read as streams.

    Args:
        words: the words.
        column: the column of Parquet lists; None is the only one of text.
        recursive: whether folders below the given ones are searched as well.

    Raises:
        UserError: a word is not there, a folder has no image, a pattern matches nothing, or a list is none.
    """
    for word in words:
        for file in _expanded(word, recursive):
            suffix = _suffix(file)
            if suffix in OTHER_LISTS and suffix == _suffix(word):
                known = "a .txt with one path or URL a line, or a .parquet with a column of them"
                raise UserError(f"{shown(file)}: is no image and no list that can be read; expected as a list {known}")
            if suffix == TEXT_LIST:
                yield from _lines(file)
            elif suffix == PARQUET_LIST:
                yield from _cells(file, column)
            else:
                yield absolute(file)


def _suffix(file: str) -> str:
    return PurePosixPath(shown(file)).suffix.lower()


def absolute(reference: str) -> str:
    """A reference that means the same from every folder; a path that is no UTF-8 becomes a ``file://`` URL.

    Raises:
        UserError: a URL of anything else is no UTF-8.
    """
    if is_remote(reference):
        if not _is_utf8(reference):
            raise UserError(f"{shown(reference)}: is no UTF-8; expected the URL in UTF-8, or with %XX for other bytes")
        return reference
    path = os.path.abspath(str(local_path(reference)) if reference.startswith("file://") else reference)
    return path if _is_utf8(path) else f"file://{quote(os.fsencode(path))}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _expanded(word: str, recursive: bool) -> Iterator[str]:
    """The files that a word means."""
    if not is_remote(word):
        path = local_path(word)
        if path.is_dir():
            yield from map(str, images_of(path, recursive=recursive))
        elif not os.path.lexists(path) and any(sign in word for sign in SIGNS):
            yield from map(str, matches(str(path))[1])
        elif not os.path.lexists(path):
            raise UserError(
                f"{word}: cannot be read: no such file or folder; expected images, folders, patterns, lists or URLs"
            )
        else:
            yield word
    elif scheme_of(word) in WEB:
        # A web server has no folders, and ? begins a query.
        yield word
    elif any(sign in word for sign in SIGNS):
        yield from _matching(word)
    else:
        yield from _folder_or_file(word, recursive)


def _folder_or_file(url: str, recursive: bool) -> Iterator[str]:
    with needed_by(url):
        from pyarrow.fs import FileType

    files, path = file_system(url)
    with readable(url):
        kind = files.get_file_info(path).type
    if kind == FileType.NotFound:
        raise UserError(f"{shown(url)}: cannot be read: no such file or folder")
    if kind != FileType.Directory:
        yield url
        return
    found = [name for name in _below(url, recursive) if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise UserError(f"{shown(url)}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    yield from (f"{url.rstrip('/')}/{name}" for name in found)


def _matching(pattern: str) -> Iterator[str]:
    parts = pattern.split("/")
    first = next(index for index, part in enumerate(parts) if any(sign in part for sign in SIGNS))
    folder, wanted = "/".join(parts[:first]), parts[first:]
    if first < 3:
        raise UserError(f"{shown(pattern)}: the bucket or host cannot be a pattern; name it")
    below = _below(folder, recursive=len(wanted) > 1 or wanted == ["**"])
    found = [name for name in below if _fits(name.split("/"), wanted)]
    if not found:
        raise UserError(f"{shown(pattern)}: no file matches")
    yield from (f"{folder}/{name}" for name in found)


def _fits(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not parts or not wanted:
        return not parts and not wanted
    if wanted[0] == "**":
        return len(wanted) == 1 or any(_fits(parts[skip:], wanted[1:]) for skip in range(len(parts)))
    return fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


def _below(url: str, recursive: bool) -> list[str]:
    """Names of the files in a folder of an object store, from the folder on, by name."""
    with needed_by(url):
        from pyarrow.fs import FileSelector, FileType

    files, path = file_system(url)
    with readable(url):
        found = files.get_file_info(FileSelector(path, recursive=recursive, allow_not_found=True))
        start = len(files.normalize_path(path).rstrip("/")) + 1
    return sorted(each.path[start:] for each in found if each.type == FileType.File)


def _lines(file: str) -> Iterator[str]:
    """The lines of a text that are not blank."""
    empty = True
    with opened(file) as stream:
        for number, line in enumerate(_raw_lines(stream), start=1):
            if len(line) > LONGEST_LINE or b"\0" in line:
                raise UserError(f"{shown(file)}: line {number} is no path; expected a text with one path a line")
            line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            line = line.rstrip(b"\r")
            if b"\r" in line:
                what = f"line {number} has a carriage return within"
                raise UserError(f"{shown(file)}: {what}; expected lines that end with a line feed (tr '\\r' '\\n')")
            if line.strip():
                empty = False
                yield absolute(os.fsdecode(line))
    if empty:
        raise UserError(f"{shown(file)}: names no image; expected one path or URL a line")


def _raw_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a stream; one that is too long comes as far as it was read, and is the last."""
    rest = b""
    while block := stream.read(1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            break
    if rest:
        yield rest


def _cells(file: str, column: str | None) -> Iterator[str]:
    """The texts in a column of a Parquet file."""
    with needed_by(file):
        from pyarrow.parquet import ParquetFile

    place = 0
    with readable(file), ParquetFile(_at_random(file)) as table:
        name = _column(file, table.schema_arrow, column)
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=[name]):
            for cell in batch.column(0).to_pylist():
                place += 1
                if not cell:
                    raise UserError(f"{shown(file)}: row {place} of column {name!r} is empty; expected a path or URL")
                yield absolute(cell)
    if not place:
        raise UserError(f"{shown(file)}: names no image; expected a row for each")


def _at_random(file: str) -> Any:
    """A file whose parts are read in any order, as those of a Parquet file are."""
    import pyarrow as pa

    if not is_remote(file):
        return local_path(file)
    if scheme_of(file) in WEB:
        return pa.BufferReader(read_bytes(file))
    files, path = file_system(file)
    return files.open_input_file(path)


def _column(file: str, schema: Any, wanted: str | None) -> str:
    import pyarrow.types as kinds

    def is_text(kind: Any) -> bool:
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)

    texts = [field.name for field in schema if is_text(field.type)]
    if wanted in texts:
        return str(wanted)
    if wanted is None and len(texts) == 1:
        return texts[0]
    known = ", ".join(texts) or "none"
    asked = "there is not one column of text alone" if wanted is None else f"there is no column {wanted!r} of text"
    raise UserError(f"{shown(file)}: {asked}; expected --column with one of: {known}")
