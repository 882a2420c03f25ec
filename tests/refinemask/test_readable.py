"""Files that somebody wanted to give and did not."""

import os
from pathlib import Path

import pytest

from refinemask.files import UserError
from refinemask.readable import require_readable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html><body>Not found", "is a web page"),
        (b"<HTML>", "is a web page"),
    ],
)
def test_what_stands_in_for_a_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^.*model\.safetensors: .*{message}"):
        require_readable(path)


def test_any_other_content_is_left_to_its_reader(tmp_path: Path) -> None:
    for content in (b"\x00", b" " * 100 + b"{}"):
        (tmp_path / "a").write_bytes(content)
        require_readable(tmp_path / "a")


def test_no_file_a_folder_and_a_pipe_are_told_apart(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "absent", "absent: no such file"),
        (tmp_path, "is a directory, expected a file"),
        (tmp_path / "pipe", "is no regular file"),
        (Path("a\x00b"), "cannot be read: embedded null"),
    ):
        with pytest.raises(UserError, match=message):
            require_readable(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        require_readable(tmp_path / "a")
