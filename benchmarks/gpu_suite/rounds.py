"""Whole networks that take turns on the device, so that clocks and temperature touch all of them alike."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

CALLS = 3
"""Calls that are timed in a turn, after one that is not: it finds the caches as the network before has left them."""
LEAST_ROUNDS = 3
"""Rounds that are run even where the time is over."""


class Work(Protocol):
    """What takes turns."""

    def run(self) -> object:
        """Enqueue or compute the work once."""

    def turn(self) -> AbstractContextManager[object]:
        """Settings that hold during a turn."""


@dataclass(frozen=True)
class Sample:
    """Milliseconds of one call."""

    device: float
    """Time between two events on the device, one before and one after the call."""
    wall: float
    """Time until the work was done."""
    enqueue: float
    """Time until the call returned."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles of milliseconds."""

    q1: float
    median: float
    q3: float
    n: int

    @classmethod
    def of(cls, samples: list[float]) -> "Spread":
        """The quartiles by linear interpolation, to a tenth of a microsecond."""
        q1, median, q3 = (round(float(value), 4) for value in np.percentile(samples, (25, 50, 75)))
        return cls(q1=q1, median=median, q3=q3, n=len(samples))


def take_turns(
    works: Mapping[str, Work], device: str, *, seconds: float, rounds: int, failed: Callable[[str, Exception], None]
) -> dict[str, list[Sample]]:
    """Run the works in rounds, each in an order shuffled anew.

    Args:
        works: what to run, by name.
        device: ``cuda`` or ``cpu``.
        seconds: time after which no further round begins, three apart.
        rounds: number of rounds at most.
        failed: is told of a work that raises; it takes no further part, and the others go on.

    Returns:
        Samples by name, three for each round; those of works that raised are left out.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in works}
    shuffle, end = random.Random(0), time.monotonic() + seconds
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.monotonic() > end:
            break
        for name in shuffle.sample(list(samples), len(samples)):
            try:
                samples[name].extend(_turn(works[name], device))
            except Exception as error:
                del samples[name]
                failed(name, error)
    return samples


def _turn(work: Work, device: str) -> Iterator[Sample]:
    with work.turn():
        call = _on_gpu if device == "cuda" else _on_cpu
        call(work)
        # Nothing may come between the calls of a turn.
        return iter([call(work) for _ in range(CALLS)])


def _on_cpu(work: Work) -> Sample:
    start = time.perf_counter()
    work.run()
    elapsed = (time.perf_counter() - start) * 1e3
    return Sample(elapsed, elapsed, elapsed)


def _on_gpu(work: Work) -> Sample:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start = time.perf_counter()
    first.record()
    work.run()
    returned = time.perf_counter()
    last.record()
    torch.cuda.synchronize()
    done = time.perf_counter()
    return Sample(first.elapsed_time(last), (done - start) * 1e3, (returned - start) * 1e3)
