"""What was hashed is what is loaded, whatever becomes of the file."""

import hashlib
import os
from pathlib import Path

import pytest

from engines.compiled.private_copy import private_copy
from refinemask.files import UserError


def test_a_copy_stays_as_it_was_hashed(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(b"x" * 3_000_000)
    with private_copy(path) as (copy, digest):
        path.write_bytes(b"other code")
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == digest
        assert digest == hashlib.sha256(b"x" * 3_000_000).hexdigest()
        with pytest.raises(OSError, match="not permitted"):
            copy.write_bytes(b"other code")


def test_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with private_copy(tmp_path / "m.pt2"):
            pass
        with pytest.raises(UserError, match="cannot be read: No such file"), private_copy(tmp_path / "missing.pt2"):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
