"""Writing files whole or not at all, and errors meant for the person at the command line."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake in what the user gave: one line that says what was found, what was expected and how to mend it."""


class FailedCheckError(Exception):
    """A result that is not what was asked for: one line that says what was found and what was expected."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it only if the block ends without an error.

    Raises:
        UserError: ``path`` is a directory, or its directory cannot be made or written.
    """
    target = Path(path)
    require_no_directory(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept because some writers choose the format by it.
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def require_no_directory(path: Path) -> None:
    """Raise a UserError if a directory lies where a file is to be written."""
    if path.is_dir():
        raise UserError(f"{path}: is a directory, expected the name of a file")


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
