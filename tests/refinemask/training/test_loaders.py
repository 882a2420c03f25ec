"""The processes that load images: none is left, whatever ends a training, and none that dies is waited for."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from refinemask.data.coco import read_coco
from refinemask.data.sampler import BatchSampler, RankShare
from refinemask.data.training import TrainingDataset
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.training.fingerprint import Fingerprint
from refinemask.training.loaders import load
from refinemask.training.loop import Execution, Trainer
from tests.support import tiny_training


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TrainingDataset:
    root = tiny_training.draw_dataset(tmp_path_factory.mktemp("data"))
    return TrainingDataset(read_coco(root / "train.json"), root / "images", tiny_training.RECIPE.data)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(dataset: TrainingDataset) -> Callable[..., None]:
    """Train with two loader processes; the callbacks of a step and of an epoch are given."""

    def train(on_step: Callable[[], Any] = lambda: None, on_epoch: Callable[[], Any] = lambda: None) -> None:
        execution = Execution(device=torch.device("cpu"), workers=2)
        model = replace(tiny_training.RECIPE.model, class_names=("square", "disk"), category_ids=(3, 7))
        trainer = Trainer(Detector(model), dataset, tiny_training.RECIPE.train, execution, Fingerprint.of([]))

        def step(*_: object) -> None:
            assert len(active_children()) == 2
            on_step()

        trainer.run(step, lambda _: on_epoch())

    return train


def test_batches_are_the_same_however_the_processes_start(dataset: TrainingDataset) -> None:
    # Linux forks, up to Python 3.13; macOS and Windows spawn.
    sampler = BatchSampler(dataset.aspect_ratios, batch_size=4, seed=0)
    method, found = multiprocessing.get_start_method(), {}
    try:
        for name, workers in (("none", 0), ("fork", 1), ("spawn", 1)):
            multiprocessing.set_start_method(name if workers else method, force=True)
            with load(dataset, RankShare(sampler, 0, 3), workers, pin_memory=False) as batches:
                found[name] = list(batches)
    finally:
        multiprocessing.set_start_method(method, force=True)
    assert [len(each) for each in found.values()] == [3, 3, 3]
    for name in ("fork", "spawn"):
        for batch, expected in zip(found[name], found["none"], strict=True):
            assert torch.equal(batch.images, expected.images)
            for ours, theirs in zip(batch.targets, expected.targets, strict=True):
                assert ours.seed == theirs.seed
                assert torch.equal(ours.boxes, theirs.boxes)
                assert all(map(np.array_equal, ours.masks, theirs.masks))
    assert active_children() == []


def raises(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


FULL = UserError("state.pt: cannot be written: No space left on device")


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("step", torch.OutOfMemoryError("CUDA out of memory")),
        ("step", OSError(28, "No space left on device")),
        ("step", SystemExit(3)),
        ("step", KeyboardInterrupt()),
        ("epoch", FULL),
        ("epoch", KeyError(3)),
    ],
)
def test_whatever_ends_a_training_leaves_no_process(run: Callable[..., None], place: str, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        run(**{f"on_{place}": raises(error)})
    # As long as the traceback is kept, so is the iterator that would end them when it goes.
    assert raised.tb is not None
    assert active_children() == []


def test_an_error_in_a_loader_process_keeps_its_kind(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingDataset, "__getitem__", raises(ZeroDivisionError("of a file")))
    with pytest.raises(ZeroDivisionError, match="of a file"):
        run()
    assert active_children() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, None])
def test_a_loader_process_that_dies_is_one_line_with_a_remedy(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, number: signal.Signals | None
) -> None:
    def die(*_: object) -> None:
        if number is None:
            os._exit(3)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(TrainingDataset, "__getitem__", die)
    with pytest.raises(UserError, match=r"^DataLoader worker \(pid.*give fewer --workers, or more memory") as caught:
        run()
    assert "\n" not in str(caught.value)
    assert active_children() == []


def test_a_death_while_an_epoch_is_saved_is_told_too(run: Callable[..., None]) -> None:
    def kill_and_wait() -> None:
        os.kill(active_children()[0].ident or 0, signal.SIGKILL)
        signal.pause()

    with pytest.raises(UserError, match=r"is killed by signal: Killed"):
        run(on_epoch=kill_and_wait)
    assert active_children() == []


def test_a_batch_that_finds_no_shared_memory_is_told_and_not_waited_for(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", raises(RuntimeError(reason)))
    with pytest.raises(UserError, match="enlarge /dev/shm"):
        run()
    assert active_children() == []


def test_processes_that_cannot_all_be_started_are_an_error_and_none_is_left(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = BaseProcess.start

    def start_one(process: BaseProcess) -> None:
        if active_children():
            raise BlockingIOError(11, "Resource temporarily unavailable")
        start(process)

    monkeypatch.setattr(BaseProcess, "start", start_one)
    with pytest.raises(UserError, match=r"--workers is 2: so many processes cannot be started \(Resource temporarily"):
        run()
    assert active_children() == []


def test_a_loader_process_ignores_what_ends_the_trainer_in_good_order(run: Callable[..., None], tmp_path: Path) -> None:
    def signal_all() -> None:
        for child in active_children():
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(child.ident or 0, number)

    run(on_step=signal_all)
