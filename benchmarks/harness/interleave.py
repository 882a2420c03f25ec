"""Engines taking turns: every round gives each of them the same batch, in an order shuffled anew."""

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.measured_device import MeasuredDevice
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
    state: DeviceState | None = None
    """The GPU right after the last engine; None on a CPU, and where nothing tells."""
    joules: list[float | None] = field(default_factory=list)
    """Energy that the device counted during each engine's turn; empty without a device that may count it."""


def interleave(
    workers: Sequence[Worker],
    batches: Sequence[Sequence[Path]],
    *,
    rounds: int,
    warmup: int,
    seed: int = 0,
    canvas: tuple[int, int] | None = None,
    warm_sizes: bool = False,
    device: MeasuredDevice | None = None,
) -> Iterator[Round]:
    """Yield ``rounds`` rounds, which cycle through the batches, after ``warmup`` rounds that are thrown away.

    With ``warm_sizes`` the first ``warmup`` runs of an engine at each padded size are thrown away, too: on a GPU some
    engines record a size when they see it again. ``device`` is asked for its state and energy in every round.

    Load, clock frequency and temperature drift. Taking turns lets the drift touch all engines alike, and shuffling
    lets none always follow the same neighbour.
    """
    shuffle = random.Random(seed)
    warm = [Warm(worker, warmup if warm_sizes else 0, device) for worker in workers]
    for number in range(-warmup, rounds):
        batch = number % len(batches)
        order = list(range(len(workers)))
        shuffle.shuffle(order)
        load = ForeignLoad([os.getpid(), *(worker.pid for worker in workers)])
        answers = {index: warm[index].process(batches[batch], canvas) for index in order}
        if number >= 0:
            state = device.state() if device else None
            samples, results = zip(*(answers[index] for index in range(len(workers))), strict=True)
            joules = [each.joules for each in warm] if device else []
            yield Round(batch, order, list(samples), load.fraction(), list(results), state, joules)


class Warm:
    """An engine, and how often it has run at each padded size."""

    joules: float | None = None
    """Energy that the device counted during the last run."""

    def __init__(self, worker: Worker, runs: int, device: MeasuredDevice | None = None) -> None:
        self._worker = worker
        self._device = device
        self._cold = runs
        self._runs: Counter[tuple[int, ...]] = Counter()

    def process(self, paths: Sequence[Path], canvas: tuple[int, int] | None) -> tuple[Sample, list[list[Result]]]:
        """What the first run gives that is behind the cold ones of its padded size."""
        while True:
            before = self._device.joules() if self._device else None
            sample, results = self._worker.process(paths, canvas)
            after = self._device.joules() if self._device else None
            self.joules = None if before is None or after is None else after - before
            self._runs[tuple(sample.padded)] += 1
            if self._runs[tuple(sample.padded)] > self._cold:
                return sample, results
