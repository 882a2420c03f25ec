import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.json_files import Id, Positive, checked, decode_json, parse_json, read_json


@dataclass(frozen=True)
class Thing:
    id: Id
    sides: tuple[Positive, Positive]
    names: dict[str, list[str]]


GOOD: dict[str, Any] = {"id": 1, "sides": [2, 3], "names": {"a": ["b"]}}


@pytest.mark.parametrize("text", [b'{"a": 1}', b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'.encode("utf-16"), '{"a": 1}'])
def test_every_unicode_is_read(text: str | bytes) -> None:
    assert parse_json(text) == {"a": 1}


@pytest.mark.parametrize(
    "text", [b" ", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xff\xfe\xfa", b"\xfc"]
)
def test_what_is_no_json_is_one_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"a\.json: not a JSON file: .*; expected things$"):
        read_json(path, "things")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        read_json(tmp_path / "absent.json", "things")
    with pytest.raises(UserError, match=r"is a directory, expected a file"):
        read_json(tmp_path, "things")


def test_a_device_and_a_pipe_which_may_have_no_end_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(UserError, match=f"{path}: is no regular file"):
            read_json(path, "things")


def test_whole_numbers_may_be_written_as_floats_or_text() -> None:
    assert checked({**GOOD, "id": 5.0, "sides": ["2", 3]}, Thing) == Thing(5, (2, 3), {"a": ["b"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "id: expected whole number, found null"),
        ({"id": 1.5}, "id: expected whole number, found number"),
        ({"id": 10**400}, "id: expected whole number <= 9223372036854775807"),
        ({"id": float("inf")}, "id: expected whole number, found number"),
        ({"sides": [0, 1]}, r"sides\[0\]: expected whole number >= 1"),
        ({"sides": 5}, "sides: expected list, found whole number"),
        ({"sides": [1]}, "sides: expected list of length 2, found 1"),
        ({"names": {"a": [1]}}, r"names\[0\]: expected text, found whole number"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        checked(GOOD | change, Thing)


def test_what_only_looks_like_a_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match="expected values as in JSON, found another kind"):
        checked({**GOOD, "names": np.zeros(2)}, Thing)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"^lacks 'sides'$"):
        checked({"id": 1, "names": {}}, Thing)
    with pytest.raises(ValueError, match=r"^expected object, found list$"):
        checked([], Thing)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"[1, 2]", [1, 2]), (b"[2.5]", None), (b'["1"]', None), (b"[1", None), (b"[NaN]", None),
     (b"\xef\xbb\xbf[1]", None), ("[1]".encode("utf-16"), None), (b"\xff", None), (b"[" * 100_000, None),
     (b"[1e400]", None)],
)  # fmt: skip
def test_a_file_is_decoded_at_once_or_not_at_all(tmp_path: Path, text: bytes, expected: list[int] | None) -> None:
    (tmp_path / "a.json").write_bytes(text)
    assert decode_json(tmp_path / "a.json", list[int]) == expected
