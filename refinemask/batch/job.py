"""What a job is, and the file that says so in its folder: another job there is refused. Imports no PyTorch."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from itertools import zip_longest
from typing import Any

from refinemask.batch.settings import WorkerSettings
from refinemask.batch.storage import Folder, shown
from refinemask.files import UserError
from refinemask.json_files import checked, parse_json, short

NAME = "job.json"
FORMAT = 1
"""Version of the folder's layout."""
NO_IDENTITY = ("model", "timeout")
"""Settings that do not decide what the results are; of the model its hash does."""
NOT_ASKED = ("model", "images", "listing_sha256")
"""What may differ in the same job: a name for the same content, and what is known when the images are listed."""
NAMES = {"model_sha256": "the content of --model"}
"""How errors name what is no option of the same name."""
MOST_ROWS, FEWEST_ROWS, PIECES = 1000, 8, 64
"""Largest and smallest size of a shard where nobody asks for one, and the pieces that a job then has at least."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that decides what a job's results are, and how they are cut into files."""

    format: int
    """Version of the folder's layout."""
    inputs: list[str]
    """The inputs, as references that mean the same from every folder."""
    column: str | None
    """The column of Parquet lists."""
    recursive: bool
    """Whether folders below the given ones were searched."""
    model: str
    """Name of the model's file, without its folder."""
    model_sha256: str
    """SHA-256 of the model's file, in hexadecimal."""
    settings: dict[str, Any]
    """What is asked of the engine: :class:`refinemask.batch.settings.WorkerSettings` as JSON."""
    shard_size: int
    """Images of a piece, and rows of a shard; 0 before the images were listed if nobody asked for a number."""
    images: int = 0
    """Number of images; 0 before they were listed."""
    listing_sha256: str = ""
    """Digest of the references, see :class:`refinemask.batch.snapshot.Snapshot`; empty before they were listed."""

    @property
    def digest(self) -> str:
        """SHA-256 of all the above, in hexadecimal; every shard carries it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return -(-self.images // self.shard_size)

    def first(self, piece: int) -> int:
        """Number of a piece's first image, from 0."""
        return piece * self.shard_size

    def count(self, piece: int) -> int:
        """Number of a piece's images."""
        return min(self.shard_size, self.images - self.first(piece))


def shard_size_for(images: int) -> int:
    """The size of a shard where nobody asks for one: a small job has pieces for many actors, too.

    It depends on nothing else, so that the job is the same on every machine.
    """
    return min(MOST_ROWS, max(FEWEST_ROWS, images // PIECES))


def settings_of(settings: WorkerSettings) -> dict[str, Any]:
    """The settings that decide what the results are, as JSON has them."""
    return {name: value for name, value in asdict(settings).items() if name not in NO_IDENTITY}


def read_job(folder: Folder) -> Job | None:
    """The job of a folder; None if there is none. One whose listing was not finished has no images.

    Raises:
        UserError: the file is damaged, or of another version of this project.
    """
    data, name = folder.read(NAME), folder.name_of(NAME)
    if data is None:
        return None
    try:
        content = parse_json(data)
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise UserError(f"{name}: has format {short(found)}, expected {FORMAT}; name another folder (--output)")
        job = checked(content, Job)
    except ValueError as error:
        raise UserError(f"{name}: is no file of a job ({error}); name another folder (--output)") from error
    if job.images < 0 or job.shard_size < bool(job.images):
        raise UserError(f"{name}: is no file of a job, its numbers are none; name another folder (--output)")
    return job


def write_job(folder: Folder, job: Job) -> None:
    """Write the job's file; once it has images, its listing is finished."""
    folder.put(NAME, (json.dumps(asdict(job), indent=2) + "\n").encode())


def difference(begun: Job, asked: Job) -> str | None:
    """The first difference of two jobs, such as ``--threads was 1 there, and is 2 now``; None if there is none.

    The images are those that were listed when the job was begun, so they make none.
    """
    for field in fields(Job):
        old, new = getattr(begun, field.name), getattr(asked, field.name)
        if field.name not in NOT_ASKED and old != new:
            what, old, new = _named(field.name, old, new)
            return f"{what} was {_said(old)} there, and is {_said(new)} now"
    return None


def _named(name: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    if isinstance(old, dict):
        names = [*new, *(key for key in old if key not in new)]
        key = next(key for key in names if old.get(key) != new.get(key))
        return f"--{key.replace('_', '-')}", old.get(key), new.get(key)
    if isinstance(old, list):
        # The first one: all of them are cut before they differ. Users and keys in URLs are secrets.
        place = next(place for place, (was, now) in enumerate(zip_longest(old, new)) if was != now)
        was, now = (shown(each[place]) if place < len(each) else None for each in (old, new))
        return f"input {place + 1}", was, now
    return NAMES.get(name, f"--{name.replace('_', '-')}"), old, new


def _said(value: Any) -> str:
    return "not given" if value is None else short(value)
