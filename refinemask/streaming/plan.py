"""How many threads a pipeline has, and how many images a batch. Imports no PyTorch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from refinemask.files import UserError
from refinemask.prediction import Predictor
from refinemask.tiling import Tiling

PATIENCE = 3
"""Batches' worth of later images for which an incomplete batch waits."""
MOST_WORKERS = 8
"""Largest number of threads that decode, and that paste, where nobody asks for more."""
HOST_STAGES = "resize", "paste", "render"
"""What the threads that carry batches do beside the network."""


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What a caller may ask of a pipeline.

    Raises:
        UserError: a number is not possible.
    """

    batch_size: int | None = None
    """Images, or tiles of images, that go through the network together; None is what the predictor prefers, and of a
    camera or stream the fewest that it takes."""
    workers: int | None = None
    """Threads that decode, and that resize and paste; None chooses by the processors that this process may use."""
    tiling: Tiling | None = None
    """Tiles in which larger images are predicted; None leaves every image whole."""

    def __post_init__(self) -> None:
        for name, value in (("batch-size", self.batch_size), ("workers", self.workers)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UserError(f"--{name} is {value!r}; expected at least 1")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The threads of a pipeline and the size of its batches."""

    batch_size: int
    """Images, or tiles of images, that go through the network together."""
    workers: int
    """Threads that decode, and threads beside those in the network that resize and paste."""
    concurrency: int
    """Batches that the predictor computes at the same time."""
    live: bool
    """Whether images come as the world goes on: of those only the newest are worth anything."""

    @property
    def decoders(self) -> int:
        """Threads that decode."""
        return self.workers

    @property
    def computers(self) -> int:
        """Threads that each carry a batch from the resize to the results."""
        return self.concurrency + self.workers

    @property
    def patience(self) -> int:
        """Number of later images for which an incomplete batch waits."""
        return PATIENCE * self.batch_size if self.batch_size > 1 else 0

    @property
    def window(self) -> int:
        """Images that are on the way at most, from the source to the caller."""
        waiting = 1 if self.live else self.decoders + self.batch_size * (self.workers + 1)
        return self.batch_size * self.concurrency + self.patience + waiting

    @property
    def capacities(self) -> Mapping[str, int]:
        """By stage, how many threads it keeps busy."""
        host = dict.fromkeys(HOST_STAGES, self.workers)
        return {"source": 1, "decode": self.decoders, "engine": self.concurrency, **host, "output": 1}


def make_plan(predictor: Predictor, options: StreamOptions, *, live: bool) -> Plan:
    """The plan for a predictor on this machine.

    A predictor may have the attributes ``concurrency``, ``preferred_batch`` and ``smallest_batch`` of an engine; one
    without computes one batch at a time, of one image if nobody asks for more.

    Args:
        predictor: the detector.
        options: what was asked for.
        live: whether the images come from a camera or stream, whose newest ones are wanted.
    """
    # A batch that the predictor would fill up with copies is filled up with images.
    smallest = getattr(predictor, "smallest_batch", 1)
    # A camera's frames would grow old while they wait for a batch that is full.
    preferred = smallest if live else getattr(predictor, "preferred_batch", 1)
    return Plan(
        batch_size=max(smallest, options.batch_size or preferred),
        workers=options.workers or max(1, min(MOST_WORKERS, processors() // 2)),
        concurrency=getattr(predictor, "concurrency", 1),
        live=live,
    )


def processors() -> int:
    """Processors that this process may use; the processes that torchrun started on a machine share them."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
