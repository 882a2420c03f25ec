"""Engines taking turns: every round gives each of them the same batch, in an order shuffled anew."""

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.pipeline import Sample
from benchmarks.harness.worker import Worker
from refinemask.structures import Result


@dataclass(frozen=True)
class Round:
    """What one batch gave."""

    batch: int
    """Index of the batch."""
    order: list[int]
    """Indices of the engines in the order they ran."""
    samples: list[Sample]
    """Samples of the engines, in the engines' order."""
    foreign_load: float | None
    """Other processes' share of the CPUs during the round."""
    results: list[list[list[Result]]] = field(repr=False)
    """COCO results without image ids, by engine and then by image of the batch."""


def interleave(
    workers: Sequence[Worker],
    batches: Sequence[Sequence[Path]],
    *,
    rounds: int,
    warmup: int,
    seed: int = 0,
    canvas: tuple[int, int] | None = None,
    warm_sizes: bool = False,
) -> Iterator[Round]:
    """Yield ``rounds`` rounds, which cycle through the batches, after ``warmup`` rounds that are thrown away.

    With ``warm_sizes`` the first ``warmup`` runs of an engine at each padded size are thrown away, too: on a GPU some
    engines record a size when they see it again.

    Load, clock frequency and temperature drift. Taking turns lets the drift touch all engines alike, and shuffling
    lets none always follow the same neighbour.
    """
    shuffle = random.Random(seed)
    warm = [Warm(worker, warmup if warm_sizes else 0) for worker in workers]
    for number in range(-warmup, rounds):
        batch = number % len(batches)
        order = list(range(len(workers)))
        shuffle.shuffle(order)
        load = ForeignLoad([os.getpid(), *(worker.pid for worker in workers)])
        answers = {index: warm[index].process(batches[batch], canvas) for index in order}
        if number >= 0:
            samples, results = zip(*(answers[index] for index in range(len(workers))), strict=True)
            yield Round(batch, order, list(samples), load.fraction(), list(results))


class Warm:
    """An engine, and how often it has run at each padded size."""

    def __init__(self, worker: Worker, runs: int) -> None:
        self._worker = worker
        self._cold = runs
        self._runs: Counter[tuple[int, ...]] = Counter()

    def process(self, paths: Sequence[Path], canvas: tuple[int, int] | None) -> tuple[Sample, list[list[Result]]]:
        """What the first run gives that is behind the cold ones of its padded size."""
        while True:
            sample, results = self._worker.process(paths, canvas)
            self._runs[tuple(sample.padded)] += 1
            if self._runs[tuple(sample.padded)] > self._cold:
                return sample, results
