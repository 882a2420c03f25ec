"""Which images make up each iteration's batch: a pure function of seed and iteration, so that resuming is exact."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Pick(NamedTuple):
    """An image of a batch, and the seed of everything random that happens to it."""

    image: int
    """Index of the image in the data set."""
    seed: int


class BatchSampler:
    """Batches of images of one orientation (wide, or tall and square), so that little of a batch is padding.

    Every epoch shows each image once; the last batch of an orientation is filled up with images already shown.
    """

    def __init__(self, aspect_ratios: Sequence[float], batch_size: int, seed: int) -> None:
        """Group the images by orientation.

        Args:
            aspect_ratios: width / height of every image; an image that is to appear twice an epoch is listed twice.
            batch_size: images per iteration, over all processes.
            seed: seed of all batches.
        """
        wide = np.asarray(aspect_ratios) > 1
        self._groups = [group for group in (np.flatnonzero(wide), np.flatnonzero(~wide)) if len(group)]
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = -1
        self._batches: list[list[Pick]] = []

    @property
    def iterations_per_epoch(self) -> int:
        """Number of batches in which every image appears."""
        return sum(-(-len(group) // self._batch_size) for group in self._groups)

    def batch(self, iteration: int) -> list[Pick]:
        """The images of one iteration, counted from 0 over all epochs."""
        epoch, position = divmod(iteration, self.iterations_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffle(epoch)
        return self._batches[position]

    def _shuffle(self, epoch: int) -> list[list[Pick]]:
        random = np.random.default_rng([self._seed, epoch])
        rows = []
        for group in self._groups:
            order = random.permutation(group)
            rows.append(np.resize(order, (-(-len(group) // self._batch_size), self._batch_size)))
        indices = random.permutation(np.concatenate(rows))
        seeds = random.integers(2**63, size=indices.shape)
        return [
            [Pick(int(index), int(seed)) for index, seed in zip(*pair, strict=True)]
            for pair in zip(indices, seeds, strict=True)
        ]


class RankShare:
    """The equal part of every batch from ``start`` on that one process loads, in equal micro-batches.

    It is an iterable of micro-batches, as ``DataLoader(batch_sampler=…)`` wants it.
    """

    def __init__(
        self, sampler: BatchSampler, start: int, stop: int, rank: int = 0, world: int = 1, accumulate: int = 1
    ) -> None:
        self._sampler, self._iterations = sampler, range(start, stop)
        self._rank, self._world, self._accumulate = rank, world, accumulate

    def __len__(self) -> int:
        return len(self._iterations) * self._accumulate

    def __iter__(self) -> Iterator[list[Pick]]:
        for iteration in self._iterations:
            batch = self._sampler.batch(iteration)
            size = len(batch) // (self._world * self._accumulate)
            for step in range(self._accumulate):
                first = (step * self._world + self._rank) * size
                yield batch[first : first + size]
