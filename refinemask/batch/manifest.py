"""The file that says what a finished job has: counts, shards with their hashes, failed images. Imports no PyTorch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from refinemask.batch.job import Job
from refinemask.batch.row import KILLED
from refinemask.batch.shards import Shard, decode, name_of
from refinemask.batch.storage import Folder
from refinemask.files import UserError
from refinemask.json_files import parse_json

NAME = "manifest.json"
MOST_NAMED = 1000
"""Failed images that a manifest names; all have a row in the shards."""


def write_manifest(folder: Folder, job: Job, shards: Sequence[Shard], seconds: float) -> None:
    """Write the manifest of a job that is finished.

    Args:
        folder: the job's folder.
        job: the job.
        shards: what is in each of its shards, in order.
        seconds: duration of the run that finished it.

    Raises:
        UserError: a shard cannot be read any more, or the file cannot be written.
    """
    content = {
        "format": job.format,
        "job": job.digest,
        "model": {"file": job.model, "sha256": job.model_sha256},
        "images": job.images,
        "predicted": job.images - sum(shard.failed for shard in shards),
        "failed": sum(shard.failed for shard in shards),
        "quarantined": sum(shard.quarantined for shard in shards),
        "objects": sum(shard.objects for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
        "seconds": round(seconds, 3),
        "failures": _failures(folder, job, shards),
        "shards": _listed(shards),
    }
    folder.put(NAME, (json.dumps(content, indent=1) + "\n").encode())


def fits(folder: Folder, job: Job, shards: Sequence[Shard]) -> bool:
    """Whether the folder has the manifest of a job with these shards.

    Raises:
        UserError: it is there and cannot be read.
    """
    try:
        content = parse_json(folder.read(NAME) or b"")
    except ValueError:
        return False
    return isinstance(content, dict) and (content.get("job"), content.get("shards")) == (job.digest, _listed(shards))


def _listed(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    return [{"file": name_of(shard.piece), **asdict(shard)} for shard in shards]


def tables(folder: Folder, job: Job, pieces: Sequence[int]) -> Iterator[Any]:
    """The tables of some shards, one after the other, each checked.

    Raises:
        UserError: a shard is missing or damaged by now.
    """
    for piece in pieces:
        name = name_of(piece)
        data = folder.read(name)
        if data is None:
            raise UserError(f"{folder.name_of(name)}: is missing; the same command again makes it")
        try:
            yield decode(data, first=job.first(piece), count=job.count(piece), piece=piece, job=job.digest)
        except ValueError as error:
            raise UserError(f"{folder.name_of(name)}: {error}; the same command again makes it anew") from error


def _failures(folder: Folder, job: Job, shards: Sequence[Shard]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with_failures = [shard.piece for shard in shards if shard.failed]
    for table in tables(folder, job, with_failures):
        rows = table.select(["index", "image", "error"]).to_pylist()
        failed = [row for row in rows if row["error"] is not None]
        found += [row | {"quarantined": row["error"].startswith(KILLED)} for row in failed]
        if len(found) >= MOST_NAMED:
            break
    return found[:MOST_NAMED]
