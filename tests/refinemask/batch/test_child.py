"""The worker process runs the model that was asked for, as any other command would, and ends with its parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engines
from refinemask.batch.guarded import Guarded
from refinemask.batch.settings import WorkerSettings
from refinemask.bundled import PHOTOS
from refinemask.files import UserError
from tests.support.processes import is_alive, needs_proc, wait_until

ROOT = Path(__file__).resolve().parents[3]
PARENT = """
import sys, time
from refinemask.batch import process
from refinemask.batch.guarded import Guarded
from refinemask.batch.settings import WorkerSettings

process.CHILD = "tests.support.fake_batch_worker"
worker = Guarded(WorkerSettings(model="model.onnx"), retries=0)
print(worker.pid, flush=True)
for row in worker.rows(sys.argv[1:]):
    print(row.image, flush=True)
time.sleep(60)
"""


def test_the_rows_are_what_the_engine_predicts(tiny_files: tuple[Path, Path]) -> None:
    pictures = [str(path) for path in sorted((PHOTOS / "images").iterdir())[:4]]
    engine = engines.load(tiny_files[1], threads=1)
    with Guarded(WorkerSettings(model=str(tiny_files[1]), threads=1), retries=0) as worker:
        assert worker.engine == f"{engine.name} {engine.precision}"
        rows = list(worker.rows(["no/such.png", *pictures]))
    assert rows[0].error == "no/such.png: cannot be read: No such file or directory"
    predictions = list(engine.predict(pictures))
    assert sum(map(len, predictions)) > 0
    for row, expected in zip(rows[1:], predictions, strict=True):
        assert (row.image, row.error) == (str(expected.path), None)
        assert (row.height, row.width) == (expected.height, expected.width)
        for found, array in ((row.boxes, expected.boxes), (row.scores, expected.scores)):
            assert found.dtype == np.float32
            assert np.array_equal(found, array)
        assert row.labels.dtype == row.category_ids.dtype == np.int32
        assert np.array_equal(row.labels, expected.labels)
        assert row.category_ids.tolist() == list(expected.category_ids)
        assert list(row.counts) == [rle["counts"].decode() for rle in expected.rles]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": "no/such.onnx"}, "no/such.onnx"),
        ({"precision": "fp16"}, "fp16"),
        ({"detections": 10_000_000}, "10000000"),
        ({"tile": 1}, "--tile is 1"),
        ({"batch_size": 0}, "--batch-size is 0"),
    ],
)
def test_what_cannot_be_met_is_the_line_of_the_other_commands(
    tiny_files: tuple[Path, Path], change: dict[str, object], expected: str
) -> None:
    settings: dict[str, object] = {"model": str(tiny_files[1])}
    with pytest.raises(UserError, match=expected):
        Guarded(WorkerSettings(**settings | change), retries=0)  # type: ignore[arg-type]


@needs_proc
@pytest.mark.parametrize("references", [[], ["grey:1", "hang"]], ids=["idle", "at work"])
def test_the_process_ends_with_the_one_that_started_it(references: list[str]) -> None:
    command = [sys.executable, "-c", PARENT, *references]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if references:
            assert parent.stdout.readline() == "grey:1\n"
        assert is_alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(pid), 10)
