"""The actor of Ray that works on pieces, one after the other. Imports neither Ray nor PyTorch."""

import json
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refinemask.batch.guarded import Guarded
from refinemask.batch.job import Job
from refinemask.batch.settings import WorkerSettings
from refinemask.batch.shards import Shard, decode, encode, name_of, summary
from refinemask.batch.snapshot import read_references
from refinemask.batch.storage import Folder
from refinemask.files import UserError, sha256
from refinemask.readable import require_readable

SECONDS_BETWEEN_NEWS = 1.0
"""Time between two messages of how far a piece is."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an actor has to know; can be pickled."""

    root: str
    """The job's folder."""
    job: Job
    """The job."""
    settings: WorkerSettings
    """What its worker process runs."""
    retries: int
    """How often an image that killed the worker process is tried again."""


class PieceActor:
    """Computes the pieces whose numbers it is called with, and says of each what became of it.

    An error ends no call: Ray would take it for a lost actor. It is part of the answer, as JSON: ``shard``, what a
    manifest says of the piece; or ``error``, one line that ends the job; or ``bug``, a traceback.
    """

    def __init__(self, task: Task, tally: Any = None) -> None:
        """Prepare the actor; the worker process starts with the first piece.

        Args:
            task: what is to be done.
            tally: the handle of a :class:`refinemask.batch.rounds.Tally`, which is told how far a piece is.
        """
        self._task, self._tally = task, tally
        self._worker: Guarded | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The answers for a batch of pieces, columns ``piece`` and ``answer``."""
        return {"answer": np.array([json.dumps(self._answer(int(piece))) for piece in batch["piece"]])}

    def _answer(self, piece: int) -> dict[str, Any]:
        try:
            return {"shard": asdict(run_piece(self._task, self._opened(), piece, self._teller(piece)))}
        except UserError as error:
            return {"error": str(error)}
        except Exception:
            return {"bug": traceback.format_exc()}

    def _opened(self) -> Guarded:
        """The worker process, which lives as long as this actor: its end closes the pipes."""
        if self._worker is None:
            require_model(self._task)
            self._worker = Guarded(self._task.settings, retries=self._task.retries).__enter__()
        return self._worker

    def _teller(self, piece: int) -> Callable[[int], None]:
        told = time.monotonic()

        def tell(rows: int) -> None:
            nonlocal told
            if self._tally is not None and time.monotonic() - told > SECONDS_BETWEEN_NEWS:
                told = time.monotonic()
                self._tally.tell.remote(piece, rows)

        return tell


def require_model(task: Task) -> None:
    """Raise a UserError unless the model's file is on this machine, the same as where the job was begun."""
    path = task.settings.model
    try:
        require_readable(path)
    except UserError as error:
        raise UserError(f"{error} on the node {socket.gethostname()}; every node needs it at the same path") from error
    if sha256(path) != task.job.model_sha256:
        raise UserError(
            f"{path}: is another file on the node {socket.gethostname()} than where the job was begun; copy that there"
        )


def run_piece(task: Task, worker: Guarded, piece: int, tell: Callable[[int], None]) -> Shard:
    """Compute a piece and write its shard, unless it is there.

    Args:
        task: the job.
        worker: the worker process.
        piece: number of the piece.
        tell: told of the number of images that are done, with each.

    Raises:
        UserError: the references cannot be read, the worker process does not start, or the shard cannot be written.
    """
    folder, job = Folder(task.root), task.job
    first, count = job.first(piece), job.count(piece)
    found = read_shard(folder, job, piece)
    if isinstance(found, Shard):
        return found
    rows = []
    for row in worker.rows(read_references(folder, first, count)):
        rows.append(row)
        tell(len(rows))
    data = encode(rows, first=first, piece=piece, job=job.digest)
    table = decode(data, first=first, count=count, piece=piece, job=job.digest)
    folder.put(name_of(piece), data)
    return summary(data, table, piece)


def read_shard(folder: Folder, job: Job, piece: int) -> Shard | str | None:
    """What is in the shard of a piece, all of which is checked; why it is not good; or None if it is not there.

    Raises:
        UserError: it is there and cannot be read.
    """
    data = folder.read(name_of(piece))
    if data is None:
        return None
    try:
        table = decode(data, first=job.first(piece), count=job.count(piece), piece=piece, job=job.digest)
    except ValueError as error:
        return f"{folder.name_of(name_of(piece))}: {error}"
    return summary(data, table, piece)
