"""A file as it was when it was hashed, for libraries that take nothing but a path."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refinemask.files import UserError

BLOCK = 1 << 20


def require_linux(path: str | os.PathLike[str]) -> None:
    """Raise a UserError unless this is Linux, which alone has files in memory; ``path`` names the package."""
    if sys.platform != "linux":
        raise UserError(f"{path}: compiled code is made and run on Linux alone, this is {sys.platform}; export to ONNX")


@contextmanager
def private_copy(path: str | os.PathLike[str]) -> Iterator[tuple[Path, str]]:
    """The path of a copy in memory that nobody can change any more, and its SHA-256, while the block runs.

    A file that is hashed and then opened by its name may be another one by then.

    Raises:
        UserError: the file cannot be read, or the system is not Linux.
    """
    require_linux(path)
    import fcntl

    handle = os.memfd_create("package", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        digest = hashlib.sha256()
        try:
            with open(path, "rb") as source, open(handle, "wb", closefd=False) as copy:
                while block := source.read(BLOCK):
                    digest.update(block)
                    copy.write(block)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
        yield Path(f"/proc/self/fd/{handle}"), digest.hexdigest()
    finally:
        os.close(handle)
