"""Engines taking turns: every round gives each of them the same batch, in an order shuffled anew."""

import os
import random
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
) -> Iterator[Round]:
    """Yield ``rounds`` rounds, which cycle through the batches, after ``warmup`` rounds that are thrown away.

    Load, clock frequency and temperature drift. Taking turns lets the drift touch all engines alike, and shuffling
    lets none always follow the same neighbour.
    """
    shuffle = random.Random(seed)
    for number in range(-warmup, rounds):
        batch = number % len(batches)
        order = list(range(len(workers)))
        shuffle.shuffle(order)
        load = ForeignLoad([os.getpid(), *(worker.pid for worker in workers)])
        answers = {index: workers[index].process(batches[batch], canvas) for index in order}
        if number >= 0:
            samples, results = zip(*(answers[index] for index in range(len(workers))), strict=True)
            yield Round(batch, order, list(samples), load.fraction(), list(results))
