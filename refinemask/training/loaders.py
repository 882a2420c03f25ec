"""The processes that load images: how they end, and what is said if they end too early."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children
from typing import Any

from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from refinemask.data.training import TrainingBatch, TrainingDataset, TrainingImage, collate
from refinemask.files import UserError
from refinemask.orphans import end_with_parent

Samples = list[TrainingImage]


@contextmanager
def load(dataset: TrainingDataset, batches: Any, workers: int, pin_memory: bool) -> Iterator[Iterator[TrainingBatch]]:
    """The batches of a training in order, loaded by ``workers`` processes, which end with the block or this process.

    Args:
        dataset: the training images.
        batches: the picks of each batch, a batch sampler.
        workers: number of processes; 0 loads in this one.
        pin_memory: whether the batches lie in memory that a GPU copies from.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=partial(_begin, os.getpid()),
        pin_memory=pin_memory,
    )
    iterator = _start(loader)
    try:
        yield iterator
    finally:
        # An exception's traceback keeps the iterator alive. Its processes ignore SIGTERM, which is how Python ends
        # them at its exit: it would wait for them for ever.
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            try:
                iterator._shutdown_workers()
            finally:
                for worker in iterator._workers:
                    worker.kill()
                    worker.join()


def _start(loader: DataLoader[TrainingImage]) -> Any:
    if not loader.num_workers:
        return iter(loader)
    before = set(active_children())
    loader.check_worker_number_rationality()
    iterator = _MultiProcessingDataLoaderIter.__new__(_MultiProcessingDataLoaderIter)
    try:
        iterator.__init__(loader)  # type: ignore[misc]
    except BaseException as error:
        # It cannot end by itself what it has half begun: those that had started would be left, as above.
        iterator._shutdown = True
        for process in set(active_children()) - before:
            process.kill()
            process.join()
        if isinstance(error, OSError):
            raise UserError(
                f"--workers is {loader.num_workers}: so many processes cannot be started ({error.strerror}); "
                "give fewer, or 0"
            ) from error
        raise
    return iterator


def _begin(trainer: int, worker: int) -> None:
    """Ignore what is sent to all processes at once: the trainer needs its loaders until it has saved its state.

    At Ctrl-C, too, the trainer ends them. One that ended by itself would wait for ever to hand over its last batch.
    """
    end_with_parent(trainer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _collate(samples: Samples) -> TrainingBatch:
    batch = collate(samples)
    if get_worker_info() is not None:
        # PyTorch would do so in a thread, where a lack of room loses the batch without a word to the trainer.
        own = (tensor for target in batch.targets for tensor in (target.boxes, target.labels))
        for tensor in (batch.images, batch.image_sizes, *own):
            tensor.share_memory_()
    return batch


def next_batch(batches: Iterator[TrainingBatch]) -> TrainingBatch:
    """The next batch.

    Raises:
        UserError: too many images cannot be read, or there is too little memory for batches.
    """
    try:
        return next(batches)
    except UserError as error:
        # A loader process wraps the message in its traceback.
        raise UserError(str(error).strip().rpartition("UserError: ")[2]) from error
    except RuntimeError as error:
        if "</torch_" not in str(error):
            raise
        raise UserError(
            "a process of --workers finds no room for its batch in shared memory; enlarge /dev/shm (Docker: "
            "--shm-size), or give fewer --workers, or 0"
        ) from error


@contextmanager
def named_deaths() -> Iterator[None]:
    """Within the block the death of a loader process, of which PyTorch may tell at any line, is a UserError."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        reason = " ".join(str(error).split())
        raise UserError(
            f"{reason.rstrip('.')}: a process of --workers was ended from outside, usually by lack of memory; give "
            "fewer --workers, or more memory, or a larger /dev/shm (Docker: --shm-size)"
        ) from error
