"""Jobs whose pieces are computed in this process by a worker that computes nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from refinemask.batch import run
from refinemask.batch.actor import Task, run_piece
from refinemask.batch.run import Request
from refinemask.batch.settings import WorkerSettings
from refinemask.batch.shards import Shard
from tests.support.batch_rows import FakeWorker


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """What computes the pieces of jobs from now on, in place of Ray."""
    fake = FakeWorker()

    @contextmanager
    def connected(pool: Any, address: str | None) -> Iterator[Any]:
        yield pool

    def finish(pieces: Sequence[int], task: Task, pool: Any, look: Callable[[int], None]) -> Iterator[Shard]:
        for piece in pieces:
            yield run_piece(task, fake, piece, look)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "connected", connected)
    monkeypatch.setattr(run, "finish", finish)
    return fake


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., Request]:
    """A job of a list of images that are not there, with a model that is not opened."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"a model")

    def make(images: Sequence[str], output: str = "job", **options: Any) -> Request:
        words = tmp_path / "list.txt"
        words.write_text("".join(f"{image}\n" for image in images))
        settings = WorkerSettings(model=str(model), **options.pop("settings", {}))
        return Request(inputs=(str(words),), output=str(tmp_path / output), settings=settings, **options)

    return make
