"""Predictions of a data set kept on disk, from which an interrupted run goes on."""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zlib import crc32

import msgspec

from refinemask.files import UserError, require_file
from refinemask.json_files import parse_json
from refinemask.locks import lock
from refinemask.structures import Result

FORMAT = 3
"""Version of the file's form; the first one recorded neither the pictures nor checksums."""
LONGEST_HEADER = 1 << 16
"""Bytes that are read of the first line, which in a file of another kind may be all of it."""
LINE = re.compile(rb'\{"image_id": (-?\d+), "picture": "([0-9a-f]*)", "results": ')
REMEDY = "name another file for the predictions"


class _Line(NamedTuple):
    """Where an image's line is in the file, and of which picture it is."""

    start: int
    size: int
    picture: str


class _Entries(msgspec.Struct):
    """A line of the file whose entries are not read yet."""

    results: list[msgspec.Raw]


class _Score(msgspec.Struct):
    """An entry of which only the score is read."""

    score: float


_ENTRIES, _SCORE = msgspec.json.Decoder(_Entries), msgspec.json.Decoder(_Score)


class PredictionFile(Mapping[int, list[Result]]):
    """Results by image id, one line of JSON per image, written as they come and read one at a time.

    Opening an existing file continues it, so a run that was interrupted loses at most one batch. Each line ends with
    the CRC-32 of what stands before it: a line that was torn or changed is dropped, and its image is predicted again.
    While the file is open no other process can open it.
    """

    def __init__(self, path: str | os.PathLike[str], source: Mapping[str, str]) -> None:
        """Open or create the file; how many damaged lines were dropped is printed to standard error.

        Args:
            path: the file.
            source: what the predictions depend on, such as hashes of the model and the annotations.

        Raises:
            UserError: the file is of another source or no prediction file, is open in another process, or cannot be
                written.
        """
        self.path = Path(path)
        self._lines: dict[int, _Line] = {}
        require_file(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Without a buffer, what could not be written does not come again when the file is closed.
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            self._open(dict(source))
        except BaseException:
            self._file.close()
            raise

    def _open(self, source: dict[str, str]) -> None:
        # A file system without locks cannot tell.
        with suppress(OSError):
            if not lock(self._file.fileno()):
                raise UserError(f"{self.path}: another process writes predictions to it; {REMEDY}, or wait")
        header = json.dumps({"predictions": source, "format": FORMAT}).encode() + b"\n"
        first = os.pread(self._file.fileno(), LONGEST_HEADER, 0).partition(b"\n")
        if first[1] and b"".join(first[:2]) == header:
            self._index(len(header))
        elif not first[1] and header.startswith(first[0]):
            # New, or interrupted while the header was written.
            self._file.truncate(0)
            self._write(header)
        else:
            raise UserError(f"{self.path}: {_why_refused(first[0], source)}; {REMEDY}")

    def _index(self, start: int) -> None:
        damaged = 0
        self._file.seek(start)
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                if (parts := LINE.match(line)) and _is_whole(line):
                    self._lines[int(parts[1])] = _Line(start, len(line), parts[2].decode())
                elif line.endswith(b"\n"):
                    damaged += 1
                else:
                    # An interrupted write leaves a last line without its end.
                    self._file.truncate(start)
                    break
                start += len(line)
        if damaged:
            lines_are = "1 line is" if damaged == 1 else f"{damaged} lines are"
            print(f"{self.path}: {lines_are} damaged and not used; its images are predicted again", file=sys.stderr)

    def append(self, image_id: int, results: Iterable[Result], picture: str = "") -> None:
        """Add the results of one image.

        Args:
            image_id: the image's number in its data set.
            results: its detections.
            picture: SHA-256 of the image's file, if it is to be known again.

        Raises:
            UserError: the disk is full or gone; the file stays as it was.
        """
        results = [{"image_id": image_id, **result} for result in results]
        text = json.dumps({"image_id": image_id, "picture": picture, "results": results}).encode()
        line = b'%s, "crc32": "%08x"}\n' % (text[:-1], crc32(text[:-1]))
        self._lines[image_id] = _Line(self._write(line), len(line), picture)

    def _write(self, line: bytes) -> int:
        """Write at the end of the file, or not at all; returns where."""
        start = self._file.seek(0, os.SEEK_END)
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(start)
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error
        return start

    def picture(self, image_id: int) -> str:
        """What :meth:`append` was told of an image's file."""
        return self._lines[image_id].picture

    def __getitem__(self, image_id: int) -> list[Result]:
        return json.loads(self._read(image_id))["results"]

    def sure(self, image_id: int, least: float) -> list[Result]:
        """The results of a score of at least ``least``; none for an image that the file does not hold.

        Where few are, that takes a quarter of the time of reading all.
        """
        entries = _ENTRIES.decode(self._read(image_id)).results if image_id in self._lines else []
        return [msgspec.json.decode(entry) for entry in entries if _SCORE.decode(entry).score >= least]

    def _read(self, image_id: int) -> bytes:
        """The line of an image."""
        start, size, _ = self._lines[image_id]
        line = os.pread(self._file.fileno(), size, start)
        if not _is_whole(line):
            raise UserError(f"{self.path}: was changed or damaged meanwhile; run the command again")
        return line

    # A mapping's own would read the results.
    def __contains__(self, image_id: object) -> bool:
        return image_id in self._lines

    def __iter__(self) -> Iterator[int]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def restrict(self, image_ids: Iterable[int]) -> None:
        """From now on hold only the results of these images; the others stay in the file."""
        self._lines = {image_id: self._lines[image_id] for image_id in image_ids if image_id in self._lines}

    def close(self) -> None:
        """Close the file; it stays on disk."""
        self._file.close()

    def __enter__(self) -> "PredictionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def scratch_predictions() -> Iterator[Path]:
    """The name of a prediction file that is removed in the end.

    Raises:
        UserError: there is no folder for temporary files.
    """
    try:
        folder = TemporaryDirectory(prefix="refinemask-")
    except OSError as error:
        raise UserError(f"no temporary file can be written ({error.strerror}); name a folder by TMPDIR") from error
    with folder as name:
        yield Path(name) / "predictions.jsonl"


def _is_whole(line: bytes) -> bool:
    """Whether the line is as :meth:`PredictionFile.append` wrote it."""
    text, _, end = line.rpartition(b', "crc32": "')
    return end == b'%08x"}\n' % crc32(text)


def _why_refused(header: bytes, source: Mapping[str, str]) -> str:
    """What is wrong with a file that begins with another line than the prediction file of ``source``."""
    try:
        content = parse_json(header)
        found = dict(content["predictions"])
    except (ValueError, LookupError, TypeError):
        return "is no prediction file, and stays as it is"
    if content.get("format") != FORMAT:
        return "an older version wrote it, which did not record all that predictions depend on"
    differing = sorted(name for name in {*found, *source} if found.get(name) != source.get(name))
    names = ["other annotations" if name == "annotations" else f"another {name}" for name in differing]
    return f"holds predictions of {' and '.join(names)}"
