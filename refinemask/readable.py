"""Files that somebody wanted to give and did not: a folder, nothing, a web page, a pointer to the file."""

import os
import stat

from refinemask.files import UserError

BEGINNINGS = {
    b"version https://git-lfs.github.com": "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    b"<!doctype html": "is a web page, as a failed download leaves it; download the file again",
    b"<html": "is a web page, as a failed download leaves it; download the file again",
}
"""What a file is, by its first bytes in lower case."""


def require_readable(path: str | os.PathLike[str]) -> None:
    """Raise a UserError unless ``path`` is a regular file that can be read, with something in it, and no stand-in."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise UserError(f"{path}: is a directory, expected a file")
        if not stat.S_ISREG(mode):
            raise UserError(f"{path}: is no regular file")
        with open(path, "rb") as file:
            beginning = file.read(64)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file") from error
    # A name with a null character is a ValueError.
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read: {reason}") from error
    if not beginning:
        raise UserError(f"{path}: is empty; download or write it again")
    for start, found in BEGINNINGS.items():
        if beginning.lstrip().lower().startswith(start):
            raise UserError(f"{path}: {found}")
