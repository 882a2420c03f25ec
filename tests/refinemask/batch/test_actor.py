"""What an actor answers: a shard, an error that ends the job, or the traceback of a fault of ours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from refinemask.batch import actor
from refinemask.batch.actor import PieceActor, Task
from refinemask.batch.job import FORMAT, Job, settings_of
from refinemask.batch.run import Request
from refinemask.batch.snapshot import write_snapshot
from refinemask.batch.storage import Folder
from refinemask.files import sha256
from tests.support.batch_rows import FakeWorker

NAMES = [f"/{number}.png" for number in range(7)]


class Opened(FakeWorker):
    """In place of a worker process."""

    made: list["Opened"] = []  # noqa: RUF012

    def __init__(self, settings: Any, retries: int) -> None:
        super().__init__()
        self.made.append(self)

    def __enter__(self) -> "Opened":
        return self


@pytest.fixture
def task(request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setattr(actor, "Guarded", Opened)
    monkeypatch.setattr(Opened, "made", [])
    request = request_of(NAMES)
    folder = Folder(request.output)
    listed = write_snapshot(folder, iter(NAMES), print)
    job = Job(
        format=FORMAT,
        inputs=[],
        column=None,
        recursive=False,
        model="model.onnx",
        model_sha256=sha256(request.settings.model),
        settings=settings_of(request.settings),
        shard_size=3,
        images=listed.images,
        listing_sha256=listed.digest,
    )
    return Task(root=folder.root, job=job, settings=request.settings, retries=2)


def answers(subject: PieceActor, *pieces: int) -> list[dict[str, Any]]:
    return [json.loads(text) for text in subject({"piece": np.array(pieces)})["answer"]]


def test_pieces_are_computed_in_one_worker_process(task: Task) -> None:
    subject = PieceActor(task)
    [first, last] = answers(subject, 0, 2)
    assert (first["shard"]["piece"], first["shard"]["rows"]) == (0, 3)
    assert (last["shard"]["piece"], last["shard"]["rows"]) == (2, 1)
    assert [each.computed for each in Opened.made] == [[*NAMES[:3], NAMES[6]]]


def test_a_piece_that_is_there_is_not_computed_again(task: Task) -> None:
    [first] = answers(PieceActor(task), 0)
    [again] = answers(PieceActor(task), 0)
    assert again == first
    assert [len(each.computed) for each in Opened.made] == [3, 0]


def test_another_or_no_model_on_a_node_is_said(task: Task) -> None:
    path = Path(task.settings.model)
    path.write_bytes(b"an old model")
    [found] = answers(PieceActor(task), 0)
    assert "is another file on the node" in found["error"]
    path.unlink()
    [found] = answers(PieceActor(task), 0)
    assert "no such file on the node" in found["error"]


def test_a_fault_of_ours_has_its_traceback(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Opened, references: list[str]) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr(Opened, "rows", fail)
    [found] = answers(PieceActor(task), 0)
    assert "AssertionError: ours" in found["bug"]
