"""A shard of a job's results: the rows of one piece as the bytes of a Parquet file. Imports no PyTorch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refinemask.batch.row import KILLED, Row
from refinemask.foreign import reason

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "results"
JOB, PIECE = b"refinemask.job", b"refinemask.piece"
"""Keys of a file's metadata: the digest of the job, and the number of the piece."""
COLUMNS = ("index", "image", "height", "width", "boxes", "scores", "labels", "category_ids", "counts", "error")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What a manifest says of a finished piece."""

    piece: int
    """Number of the piece, from 0."""
    rows: int
    """Number of its images."""
    failed: int
    """Number of images with an error, those in quarantine among them."""
    quarantined: int
    """Number of images that killed the worker process each time."""
    objects: int
    """Number of detections."""
    bytes: int
    """Size of the file."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""


def name_of(piece: int) -> str:
    """Name of a piece's file, from the job's folder on."""
    return f"{FOLDER}/part-{piece:08d}.parquet"


def piece_of(name: str) -> int | None:
    """The piece whose file, in the folder of shards, has this name; None if it is no such name."""
    number = name.removeprefix("part-").removesuffix(".parquet")
    return int(number) if number.isascii() and number.isdigit() and name_of(int(number)) == f"{FOLDER}/{name}" else None


def encode(rows: Sequence[Row], *, first: int, piece: int, job: str) -> bytes:
    """The content of a shard; equal rows give equal bytes.

    Args:
        rows: the rows of the piece's images, in order.
        first: number of the first image in the job, from 0.
        piece: number of the piece.
        job: digest of the job.
    """
    import pyarrow as pa
    from pyarrow import parquet

    boxes = np.concatenate([row.boxes.reshape(-1) for row in rows] or [np.empty(0, np.float32)])
    columns = (
        pa.array(range(first, first + len(rows)), pa.int64()),
        pa.array([row.image for row in rows], pa.string()),
        pa.array([row.height for row in rows], pa.int32()),
        pa.array([row.width for row in rows], pa.int32()),
        _lists(rows, pa.FixedSizeListArray.from_arrays(pa.array(boxes, pa.float32()), 4)),
        _lists(rows, pa.array(_joined(rows, "scores"), pa.float32())),
        _lists(rows, pa.array(_joined(rows, "labels"), pa.int32())),
        _lists(rows, pa.array(_joined(rows, "category_ids"), pa.int32())),
        _lists(rows, pa.array([each for row in rows for each in row.counts], pa.string())),
        pa.array([row.error for row in rows], pa.string()),
    )
    metadata = {JOB: job.encode(), PIECE: str(piece).encode()}
    table = pa.table(dict(zip(COLUMNS, columns, strict=True))).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def decode(data: bytes, *, first: int, count: int, piece: int, job: str) -> "pa.Table":
    """The table of a shard, all of whose content is checked.

    Args:
        data: the content of the file.
        first: number of the first image in the job, from 0.
        count: number of the piece's images.
        piece: number of the piece.
        job: digest of the job.

    Raises:
        ValueError: the file is damaged, or not that of this piece of this job.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            metadata = file.metadata.metadata or {}
            if metadata.get(JOB) != job.encode():
                raise ValueError("is a result of another job")
            if metadata.get(PIECE) != str(piece).encode() or file.metadata.num_rows != count:
                raise ValueError("is a result of other images")
            table = file.read()
            table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"is damaged ({reason(error)})") from error
    if tuple(table.column_names) != COLUMNS or table.column("index").to_pylist() != list(range(first, first + count)):
        raise ValueError("is damaged (its rows are not those of its images)")
    return table


def summary(data: bytes, table: "pa.Table", piece: int) -> Shard:
    """What a manifest says of a shard, by its content and its table."""
    import pyarrow.compute as pc

    errors = table.column("error")
    killed = pc.sum(pc.starts_with(errors, KILLED)).as_py() or 0
    return Shard(
        piece=piece,
        rows=table.num_rows,
        failed=table.num_rows - errors.null_count,
        quarantined=int(killed),
        objects=pc.sum(pc.list_value_length(table.column("scores"))).as_py() or 0,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _joined(rows: Sequence[Row], name: str) -> Any:
    return np.concatenate([getattr(row, name) for row in rows] or [np.empty(0, np.float32)])


def _lists(rows: Sequence[Row], values: Any) -> Any:
    """One list a row, of as many of the values as the row has detections."""
    import pyarrow as pa

    ends = np.cumsum([0, *(len(row.scores) for row in rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)
