"""Where images, lists and results lie: files of this machine, object stores, web servers. Imports no PyTorch.

``s3://``, ``gs://``, ``hdfs://`` and ``abfs://`` are read by PyArrow, which takes endpoint, region and keys from the
environment; other schemes by fsspec and the package that it needs for them.
"""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from http.client import HTTPException, IncompleteRead
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote_to_bytes, urlsplit
from urllib.request import Request, urlopen

from refinemask.data.images import read_bytes as read_local_bytes
from refinemask.extras import needed_by
from refinemask.files import UserError, atomic_write
from refinemask.foreign import one_line, reason
from refinemask.sources.addresses import is_address

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

LARGEST = 1 << 30
"""Bytes of the largest image or list that is read from a web server or an object store."""
WEB = ("http", "https")
BY_PYARROW = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
PAUSES = (1.0, 4.0)
"""Seconds between the attempts at a web server that is busy or does not answer."""
WEB_TIMEOUT = 60.0
"""Seconds after which a web server that says nothing does not answer."""
URL_SIGNS = "%/:=&?~#+!$,;'@()*[]"
"""What stays as it is in a URL whose spaces and letters of other alphabets are encoded."""


def is_remote(reference: str) -> bool:
    """Whether a reference is a URL of anything but this machine's files."""
    return is_address(reference) and not reference.startswith("file://")


def shown(reference: str) -> str:
    """A reference as errors name it: without user, password and query, which may be secrets."""
    if not is_remote(reference):
        return reference
    scheme, _, rest = reference.partition("://")
    netloc, slash, path = rest.partition("/")
    path = path.partition("?")[0] if scheme in WEB else path
    return f"{scheme}://{netloc.rpartition('@')[2]}{slash}{path}"


def local_path(reference: str) -> Path:
    """The file of this machine that a path or a ``file://`` URL names."""
    if reference.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(os.fsencode(urlsplit(reference).path))))
    return Path(reference)


def read_bytes(reference: str) -> bytes:
    """The whole content of an image or a list.

    A web server that is busy or does not answer is asked again, a few times; PyArrow does the same for object stores.

    Args:
        reference: a path of this machine, or a URL.

    Raises:
        UserError: it cannot be read, or is too large.
    """
    if not is_remote(reference):
        return read_local_bytes(local_path(reference))
    with opened(reference) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UserError(f"{shown(reference)}: is larger than {LARGEST} bytes, which no image is")
    return data


@contextmanager
def opened(reference: str) -> Iterator[IO[bytes]]:
    """The content of a file or URL as a stream of bytes.

    Raises:
        UserError: it cannot be opened, or reading within the block fails.
    """
    with readable(reference):
        if not is_remote(reference):
            stream: Any = open(local_path(reference), "rb")  # noqa: SIM115
        elif scheme_of(reference) in WEB:
            # All of it at once: a list that was broken off looks like a shorter one.
            stream = BytesIO(_from_web(reference))
        else:
            files, path = file_system(reference)
            stream = files.open_input_stream(path)
        with closing(stream):
            yield stream


@contextmanager
def readable(reference: str) -> Iterator[None]:
    """Within the block, what a file system or a library raises becomes a UserError that names the reference."""
    try:
        yield
    except UserError:
        raise
    except (OSError, HTTPException, ValueError, RuntimeError) as error:
        why = one_line(error.strerror) if isinstance(error, OSError) and error.strerror else reason(error)
        raise UserError(f"{shown(reference)}: cannot be read: {why}") from error


def scheme_of(reference: str) -> str:
    """The scheme of a URL, in lower case."""
    return reference.partition("://")[0].lower()


def file_system(url: str) -> "tuple[FileSystem, str]":
    """The file system of a URL, and the path in it. What stands in the path is taken as it is, without decoding.

    Raises:
        UserError: nothing here reads such URLs.
    """
    scheme, _, rest = url.partition("://")
    netloc, _, path = rest.partition("/")
    files, base = _opened_system(scheme.lower(), netloc)
    return files, f"{base.rstrip('/')}/{path}" if path else base or "/"


@lru_cache(maxsize=64)
def _opened_system(scheme: str, netloc: str) -> "tuple[FileSystem, str]":
    url = f"{scheme}://{netloc}/"
    with needed_by(f"{url}"):
        import fsspec
        from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem
    try:
        if scheme in BY_PYARROW:
            return FileSystem.from_uri(url)
        found = fsspec.filesystem(scheme)
    except (ImportError, OSError, ValueError) as error:
        known = "a path, http://, https://, s3://, gs://, hdfs://, abfs:// or what fsspec reads"
        raise UserError(f"{shown(url)}: cannot be reached: {reason(error)}; expected {known}") from error
    return PyFileSystem(FSSpecHandler(found)), found._strip_protocol(url) or ""


def _from_web(url: str) -> bytes:
    """What a web server has at an address, all of it."""
    request = Request(quote(url, safe=URL_SIGNS), headers={"User-Agent": "refinemask"})
    for pause in (*PAUSES, None):
        try:
            with urlopen(request, timeout=WEB_TIMEOUT) as answer:
                data: bytes = answer.read(LARGEST + 1)
                # Reading so many bytes at most does not complain of fewer.
                if not answer.length or len(data) > LARGEST:
                    return data
                raise IncompleteRead(data, answer.length)
        except HTTPError as error:
            error.close()
            if pause is None or not (error.code == 429 or error.code >= 500):
                raise UserError(f"{shown(url)}: cannot be read: {error.code} {error.reason}") from error
        except (OSError, HTTPException):
            if pause is None:
                raise
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


class Folder:
    """A folder of results, on this machine or in an object store, whose files are written whole or not at all."""

    def __init__(self, root: str) -> None:
        """Name the folder; it is made by the first file.

        Args:
            root: a path, or a URL as :func:`file_system` takes it.

        Raises:
            UserError: nothing here writes to such URLs.
        """
        if scheme_of(root) in WEB:
            raise UserError(f"{shown(root)}: a web server takes no results; name a folder or an s3:// or gs:// URL")
        self.is_local = not is_remote(root)
        self.root = str(local_path(root)) if self.is_local else root.rstrip("/")

    def name_of(self, name: str) -> str:
        """The whole name of one of its files, for errors and for other programs."""
        return os.path.join(self.root, name) if self.is_local else f"{self.root}/{name}"

    def names(self, folder: str) -> list[str]:
        """Names of the files in one of its folders, by name; none if there is no such folder.

        Raises:
            UserError: it cannot be listed.
        """
        from pyarrow.fs import FileSelector, FileType

        with readable(self.name_of(folder)):
            if self.is_local:
                path = Path(self.name_of(folder))
                return sorted(each.name for each in os.scandir(path) if each.is_file()) if path.is_dir() else []
            files, path_in = file_system(self.name_of(folder))
            found = files.get_file_info(FileSelector(path_in, allow_not_found=True))
            return sorted(each.base_name for each in found if each.type == FileType.File)

    def read(self, name: str) -> bytes | None:
        """The content of one of its files; None if there is none of this name.

        Raises:
            UserError: it cannot be read.
        """
        whole = self.name_of(name)
        with readable(whole):
            try:
                if self.is_local:
                    return Path(whole).read_bytes()
                files, path = file_system(whole)
                with files.open_input_stream(path) as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

    def put(self, name: str, data: bytes) -> None:
        """Write a file; it has its name only when all of it is there.

        Raises:
            UserError: it cannot be written.
        """
        whole = self.name_of(name)
        if self.is_local:
            with atomic_write(whole) as temporary:
                temporary.write_bytes(data)
            return
        try:
            files, path = file_system(whole)
            files.create_dir(path.rpartition("/")[0], recursive=True)
            # An object store shows the object when it is closed, and in one piece.
            with files.open_output_stream(path) as stream:
                stream.write(data)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"{shown(whole)}: cannot be written: {reason(error)}") from error

    def remove(self, name: str) -> None:
        """Remove one of its files.

        Raises:
            UserError: it cannot be removed.
        """
        whole = self.name_of(name)
        with readable(whole):
            if self.is_local:
                Path(whole).unlink(missing_ok=True)
            else:
                files, path = file_system(whole)
                files.delete_file(path)
