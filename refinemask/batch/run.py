"""A batch job from its inputs to its manifest, begun or gone on with. Imports neither Ray nor PyTorch."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from refinemask.batch.actor import Task, read_shard
from refinemask.batch.cluster import Pool, connected
from refinemask.batch.coco import write_coco
from refinemask.batch.inputs import absolute, references
from refinemask.batch.job import FORMAT, NAME, Job, difference, read_job, settings_of, shard_size_for, write_job
from refinemask.batch.manifest import NAME as MANIFEST
from refinemask.batch.manifest import fits, write_manifest
from refinemask.batch.progress import Listing, Progress
from refinemask.batch.rounds import finish
from refinemask.batch.settings import WorkerSettings
from refinemask.batch.shards import FOLDER as RESULTS
from refinemask.batch.shards import Shard, name_of, piece_of
from refinemask.batch.snapshot import FOLDER as IMAGES
from refinemask.batch.snapshot import write_snapshot
from refinemask.batch.storage import Folder
from refinemask.exit_codes import printable
from refinemask.files import UserError, sha256
from refinemask.foreign import reason
from refinemask.locks import locked
from refinemask.readable import require_readable

LOCK = "job.lock"
READERS = 4
"""Threads that check finished shards, each of which is in memory meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A job, and how it is to be run this time."""

    inputs: tuple[str, ...]
    """What :func:`refinemask.batch.inputs.references` takes."""
    output: str
    """The job's folder: a path, or a URL of an object store."""
    settings: WorkerSettings
    """The model, its engine, and what is asked of it."""
    column: str | None = None
    """The column of Parquet lists."""
    recursive: bool = False
    """Whether folders below the given ones are searched as well."""
    shard_size: int | None = None
    """Images of a piece, and rows of a shard; None is what the job was begun with, or
    :func:`refinemask.batch.job.shard_size_for`."""
    retries: int = 2
    """How often an image that killed the worker process is tried again."""
    pool: Pool = field(default_factory=Pool)
    """The actors."""
    address: str | None = None
    """The Ray cluster; None is one of this machine that ends with the job."""
    to_coco: Path | None = None
    """The COCO results file that is written in the end."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What became of a job."""

    images: int
    """Number of images."""
    failed: int
    """Number of images with an error, those in quarantine among them."""
    quarantined: int
    """Number of images that killed the worker process each time."""
    computed: int
    """Number of images that were computed in this run; the others were there."""
    seconds: float
    """Duration of this run."""


def run_job(request: Request) -> Finished:
    """Begin a job, or go on with it; returns when it is finished.

    What is finished is never computed again: the pieces whose shards are in the folder. It can be interrupted at any
    time, and goes on with the next call.

    Raises:
        UserError: an input, the model or an option cannot be used; the folder has another job, or one that runs;
            the cluster is too small or not there; the disk is full; or a file of the job cannot be read.
    """
    begun = time.monotonic()
    require_readable(request.settings.model)
    folder = Folder(request.output)
    _require_place_of_its_own(request.to_coco, folder)
    with _alone(folder):
        job = _opened(folder, request)
        done = _finished(folder, job)
        before = sum(shard.rows for shard in done.values())
        if left := [piece for piece in range(job.pieces) if piece not in done]:
            _compute(request, folder, job, done, left)
            _require_all(folder, job)
        shards = [done[piece] for piece in range(job.pieces)]
        if left or not fits(folder, job, shards):
            write_manifest(folder, job, shards, time.monotonic() - begun)
        if request.to_coco is not None:
            write_coco(folder, job, request.to_coco)
    return Finished(
        images=job.images,
        failed=sum(shard.failed for shard in shards),
        quarantined=sum(shard.quarantined for shard in shards),
        computed=job.images - before,
        seconds=time.monotonic() - begun,
    )


def _require_place_of_its_own(to_coco: Path | None, folder: Folder) -> None:
    """Raise a UserError if the COCO results would take the place of a file of the job."""
    if to_coco is None or not folder.is_local:
        return
    root, path = Path(folder.root).resolve(), to_coco.resolve()
    files, folders = (NAME, MANIFEST, LOCK), (IMAGES, RESULTS)
    if path in {root / name for name in (*files, *folders)} or path.parent in {root / name for name in folders}:
        raise UserError(f"--to-coco {to_coco}: is a place of the job's own files; name another file")


def _compute(request: Request, folder: Folder, job: Job, done: dict[int, Shard], left: list[int]) -> None:
    # The actors of a cluster have another working directory.
    task = Task(root=absolute(folder.root), job=job, settings=request.settings, retries=request.retries)
    finished = sum(shard.rows for shard in done.values())
    failed = sum(shard.failed for shard in done.values())
    with connected(request.pool, request.address) as pool, Progress(job.images, finished, failed) as progress:
        for shard in finish(left, task, pool, progress.look):
            done[shard.piece] = shard
            progress.add(shard)


def _require_all(folder: Folder, job: Job) -> None:
    """Raise a UserError if a shard that was finished before is not there any more."""
    there = set(folder.names(RESULTS))
    for piece in range(job.pieces):
        if name_of(piece).removeprefix(f"{RESULTS}/") not in there:
            raise UserError(f"{folder.name_of(name_of(piece))}: has vanished while the job ran; give the command again")


@contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """Within the block no other process of this machine works on the folder; an object store has no locks."""
    if not folder.is_local:
        yield
        return
    path = Path(folder.root)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = ExitStack()
        free = lock.enter_context(locked(path / LOCK))
    except FileExistsError as error:
        raise UserError(f"{path}: is a file; expected the name of a folder (--output)") from error
    except OSError as error:
        why = error.strerror or reason(error)
        raise UserError(f"{path}: cannot be written: {why}; name another folder (--output)") from error
    with lock:
        if not free:
            raise UserError(f"{path}: this job runs already; wait for it, or end it")
        yield


def _opened(folder: Folder, request: Request) -> Job:
    """The job of the folder, which is the requested one; its images are listed if they were not."""
    asked = Job(
        format=FORMAT,
        inputs=[absolute(word) for word in request.inputs],
        column=request.column,
        recursive=request.recursive,
        model=Path(request.settings.model).name,
        model_sha256=sha256(request.settings.model),
        settings=settings_of(request.settings),
        shard_size=request.shard_size or 0,
    )
    begun = read_job(folder)
    if begun is not None and begun.images:
        asked = replace(asked, shard_size=request.shard_size or begun.shard_size)
        different = difference(begun, asked)
        if different is None:
            return begun
        # Options that turned out to be impossible leave a job without results.
        if folder.names(RESULTS):
            remedy = "give what it was begun with, or name another folder (--output)"
            raise UserError(f"{folder.root}: has the results of another job: {different}; {remedy}")
    if begun is None:
        _require_empty(folder)
    write_job(folder, asked)
    tell = Listing()
    try:
        given = references(request.inputs, column=request.column, recursive=request.recursive)
        snapshot = write_snapshot(folder, given, tell)
    finally:
        tell.close()
    size = request.shard_size or shard_size_for(snapshot.images)
    job = replace(asked, images=snapshot.images, listing_sha256=snapshot.digest, shard_size=size)
    write_job(folder, job)
    return job


def _require_empty(folder: Folder) -> None:
    """Raise a UserError if the places of a job's files are taken, although there is no job."""
    for name in (IMAGES, RESULTS):
        if found := folder.names(name):
            what = f"{folder.name_of(name)}: holds {found[0]}, but no {NAME} is beside it"
            raise UserError(f"{what}; name a folder of its own for the job (--output)")


def _finished(folder: Folder, job: Job) -> dict[int, Shard]:
    """The pieces whose shards are there and good, by number; what is damaged is said, and made again.

    Raises:
        UserError: there is a file that is none of the job's.
    """
    pieces = []
    for name in folder.names(RESULTS):
        if name.startswith("."):
            continue
        piece = piece_of(name)
        if piece is None or piece >= job.pieces:
            raise UserError(f"{folder.name_of(RESULTS)}: holds {name}, which is none of the job's; move it away")
        pieces.append(piece)
    found: dict[int, Shard] = {}
    with ThreadPoolExecutor(READERS) as readers:
        for shard in readers.map(lambda piece: read_shard(folder, job, piece), pieces):
            if isinstance(shard, Shard):
                found[shard.piece] = shard
            elif shard is not None:
                print(f"{printable(shard)}; it is made again", file=sys.stderr)
    return found
