"""Rows of a batch job that depend on the reference alone, and a worker that makes them."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from refinemask.batch.row import Row


def row_of(reference: str) -> Row:
    """What a detector could have found; references with ``bad`` in them fail, and those with ``dead`` kill."""
    if "bad" in reference:
        return Row.failed(reference, f"{reference}: cannot be read: no such file")
    if "dead" in reference:
        return Row.failed(reference, "killed the worker process 3 times (signal 9)")
    random = np.random.default_rng(zlib.crc32(reference.encode()))
    count = int(random.integers(0, 4))
    labels = random.integers(0, 3, count).astype(np.int32)
    return Row(
        image=reference,
        height=40,
        width=60,
        boxes=random.uniform(0, 40, (count, 4)).astype(np.float32),
        scores=np.sort(random.uniform(0, 1, count).astype(np.float32))[::-1],
        labels=labels,
        category_ids=labels + 1,
        counts=tuple(f"{value}PQ" for value in random.integers(0, 99, count)),
    )


class FakeWorker:
    """A worker process that computes nothing."""

    def __init__(self) -> None:
        self.computed: list[str] = []
        """The references that it was given."""

    def rows(self, references: Sequence[str]) -> Iterator[Row]:
        for reference in references:
            self.computed.append(reference)
            yield row_of(reference)
