"""Writing files whole or not at all, and errors meant for the person at the command line."""

import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from refinemask.locks import lock

NAMED_CHARACTERS = 20
"""Characters of the target's name in that of its temporary file, which must not be longer than file systems take."""
TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}\.\w{8}(\.|$)", re.DOTALL)
"""Names of temporary files."""
FULL_BELOW = 1 << 16
"""Bytes left in a file system that a failed writer has filled."""
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
"""What an OSError says that is no fault of the writer."""


class UserError(Exception):
    """A mistake in what the user gave: one line that says what was found, what was expected and how to mend it."""


class FailedCheckError(Exception):
    """A result that is not what was asked for: one line that says what was found and what was expected."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, one_of_many: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it only if the block ends without an error.

    The data reach the disk before they get the name. A symbolic link stays, and what it points to is replaced. What a
    killed writer of the same file left behind is removed, but for Windows.

    Args:
        path: the file.
        one_of_many: whether it is one of thousands in its folder that can be made again. The system then writes the
            data when it likes, so that a failure of power may lose them, and what killed writers left stays for
            :func:`remove_abandoned`: both take longer than writing a small file.

    Raises:
        UserError: ``path`` is a directory or a device, its directory cannot be made or written, or the disk is full.
    """
    require_file(Path(path))
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not one_of_many:
            remove_abandoned(target.parent, _prefix(target))
        handle, temporary = _own_temporary(target)
    except OSError as error:
        in_a_file = isinstance(error, FileExistsError)
        reason = f"{target.parent} is a file, expected a folder" if in_a_file else error.strerror
        raise UserError(f"{path}: cannot be written: {reason}") from error
    try:
        yield temporary
        _publish(temporary, target, to_disk=not one_of_many)
    except Exception as error:
        if reason := _why_unwritable(error, target.parent):
            raise UserError(f"{path}: cannot be written: {reason}") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise a UserError if anything but a regular file lies where one is to be written: a directory, a device."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    # A name with a null character is a ValueError.
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be written: {reason}") from error
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: is a directory, expected the name of a file")
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: is no regular file, which is never replaced; expected the name of a file")


def require_not_input(output: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> None:
    """Raise a UserError unless ``output`` is the name of a file that is none of ``inputs``, whatever they are called.

    An input that is None or does not exist is passed over.
    """
    require_file(output)
    if not os.path.exists(output):
        return
    for path in inputs:
        if path is not None and os.path.exists(path) and os.path.samefile(path, output):
            raise UserError(f"{output}: is read by this very command and would be overwritten; name another output")


def _prefix(target: Path) -> str:
    """The beginning of the names of a file's temporary files, and of no other file's."""
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
    return f".{target.stem[:NAMED_CHARACTERS]}.{name}."


def _suffix(target: Path) -> str:
    """The target's own suffix, by which some writers choose the format, unless it is no suffix."""
    return target.suffix if len(target.suffix) <= NAMED_CHARACTERS else ""


def _own_temporary(target: Path) -> tuple[int | None, Path]:
    """A new file beside ``target``, locked until its writer ends or dies: so others see whether it is abandoned.

    On Windows it is not locked, because an open file cannot be renamed there.
    """
    while True:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_prefix(target), suffix=_suffix(target))
        if sys.platform == "win32":
            os.close(handle)
            return None, Path(name)
        # Another writer may have taken it for abandoned between these two lines, and removes it then.
        if _is_locked(handle) and os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)


def _is_locked(handle: int) -> bool:
    try:
        return lock(handle)
    except OSError:
        # Without locks nobody takes it for abandoned.
        return True


def remove_abandoned(folder: Path, prefix: str = ".") -> None:
    """Remove the temporary files in a folder, whose names begin with ``prefix``, of writers that were killed.

    Raises:
        OSError: the folder cannot be read.
    """
    if sys.platform == "win32":
        # Nothing tells there which are.
        return
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    found = [folder / name for name in names if TEMPORARY.match(name)]
    for path in found:
        # Another writer may have just finished with it, or the file system may have no locks.
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                if lock(handle):
                    os.unlink(path)
            finally:
                os.close(handle)


def _publish(temporary: Path, target: Path, *, to_disk: bool) -> None:
    """Give a complete file its name, once its data are on the disk if they are to be."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    if to_disk:
        _to_disk(temporary)
    os.replace(temporary, target)
    if not to_disk:
        return
    # Some file systems keep no directories' data, and say so.
    with suppress(OSError):
        _to_disk(target.parent)


def _to_disk(path: Path) -> None:
    # Windows takes no order to write from who may only read.
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _why_unwritable(error: Exception, directory: Path) -> str:
    """The file system's fault behind a writer's error, or nothing: many writers pass on no error number."""
    # Writers in Rust, such as safetensors, pass on the number in their words.
    told = re.search(r"\(os error (\d+)\)$", str(error))
    number = int(told[1]) if told else error.errno if isinstance(error, OSError) else None
    if number in UNWRITABLE:
        return os.strerror(number)
    if not isinstance(error, UserError):
        with suppress(OSError):
            if shutil.disk_usage(directory).free < FULL_BELOW:
                return os.strerror(errno.ENOSPC)
    return "" if directory.is_dir() else "its directory has vanished"


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
