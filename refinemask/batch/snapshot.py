"""The references of a job's images, kept with its results: what the job is of, whatever becomes of its inputs.

Imports no PyTorch.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from refinemask.batch.storage import Folder
from refinemask.files import UserError
from refinemask.foreign import reason

FOLDER = "images"
PART = 100_000
"""References of a file."""
GROUP = 10_000
"""References of a row group, which is what is read of a file."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What was listed."""

    images: int
    """Number of references."""
    digest: str
    """SHA-256 of all references in order, each with a line break behind it, in hexadecimal."""


def write_snapshot(folder: Folder, references: Iterator[str], tell: Callable[[int], None]) -> Snapshot:
    """Write the references into files of :data:`PART` each, in order, and remove what an unfinished listing left.

    Args:
        folder: the job's folder.
        references: the references.
        tell: told of the number of references written until now.

    Raises:
        UserError: there is no reference, one has a line break, or a file cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    for name in folder.names(FOLDER):
        folder.remove(f"{FOLDER}/{name}")
    digest, images = hashlib.sha256(), 0
    while part := list(islice(references, PART)):
        _require_one_line(part)
        sink = pa.BufferOutputStream()
        table = pa.table({"image": pa.array(part, pa.string())})
        parquet.write_table(table, sink, compression="zstd", row_group_size=GROUP, write_page_checksum=True)
        folder.put(_name(images // PART), sink.getvalue().to_pybytes())
        digest.update("".join(f"{reference}\n" for reference in part).encode())
        images += len(part)
        tell(images)
    if not images:
        raise UserError("no image was given; expected folders, patterns, lists, files or URLs")
    return Snapshot(images=images, digest=digest.hexdigest())


def read_references(folder: Folder, first: int, count: int) -> list[str]:
    """``count`` references from number ``first`` on, which counts from 0.

    Raises:
        UserError: a file of the snapshot is missing, damaged or too short.
    """
    found: list[str] = []
    while len(found) < count:
        place = first + len(found)
        wanted = min(count - len(found), PART - place % PART)
        found += _read_part(folder, _name(place // PART), place % PART, wanted)
    return found


def _read_part(folder: Folder, name: str, first: int, count: int) -> list[str]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    remedy = "begin again in another folder (--output), whose job lists the images anew"
    data = folder.read(name)
    if data is None:
        raise UserError(f"{folder.name_of(name)}: is missing, a part of the job's list of images; {remedy}")
    groups = range(first // GROUP, (first + count - 1) // GROUP + 1)
    try:
        with ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            column = file.read_row_groups(list(groups), columns=["image"]).column("image")
        found: list[str] = column.slice(first % GROUP, count).to_pylist()
    except (pa.ArrowException, OSError, KeyError, IndexError) as error:
        raise UserError(f"{folder.name_of(name)}: is damaged ({reason(error)}); {remedy}") from error
    if len(found) != count or None in found:
        raise UserError(f"{folder.name_of(name)}: has too few references; {remedy}")
    return found


def _name(part: int) -> str:
    return f"{FOLDER}/part-{part:05d}.parquet"


def _require_one_line(part: list[str]) -> None:
    for reference in part:
        if "\n" in reference or "\r" in reference:
            raise UserError(f"{reference!r}: a name of an image has a line break; rename the file")
