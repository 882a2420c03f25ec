"""Engines that several threads use at once. Imports no PyTorch."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock, Thread
from typing import Any, TypeVar

import numpy as np

from engines import Engine
from refinemask.structures import ImageDetections
from tests.support.runner_batches import Batch, assert_same

Result = TypeVar("Result")
THREADS = 8


def finish(call: Callable[[], Result]) -> Result:
    """The result of a call that must not wait for ever."""
    results: list[Result] = []
    thread = Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert results, "it fails, or waits for what nobody gives back"
    return results[0]


def batches_of(*sizes: tuple[int, int], counts: Sequence[int] = (1,)) -> list[Batch]:
    """A batch of noise for each size (height, width) and number of images."""
    noise = np.random.default_rng(0)
    return [
        (noise.integers(0, 256, (count, 3, *size), dtype=np.uint8), np.array([size] * count))
        for size in sizes
        for count in counts
    ]


def detect(engine: Engine, batch: Batch) -> list[ImageDetections]:
    """What an engine finds in images that were not resized."""
    images, sizes = batch
    return engine.detect(images, sizes, np.ones((len(images), 4), np.float32), [(int(h), int(w)) for h, w in sizes])


def assert_threads_find_what_one_finds(engine: Engine, batches: Sequence[Batch]) -> None:
    """Eight threads compute all batches, each in an order of its own; no bit may differ from what one thread finds."""
    alone = [(engine.infer(*batch), detect(engine, batch)) for batch in batches]
    assert sum(int(found.num_detections.sum()) for found, _ in alone) > 0
    start = Barrier(THREADS)

    def work(thread: int) -> None:
        start.wait(timeout=60)
        for step in range(len(batches)):
            index = (thread + step) % len(batches)
            if (thread + step) % 2:
                assert_same(engine.infer(*batches[index]), alone[index][0])
            else:
                assert_same_images(detect(engine, batches[index]), alone[index][1])

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, range(THREADS)))


def assert_same_images(found: list[ImageDetections], expected: list[ImageDetections]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.rles == theirs.rles
        for name in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def alone(call: Callable[..., Result]) -> Callable[..., Result]:
    """A call that fails where it runs in two threads at the same time."""
    busy = Lock()

    def checked(*arguments: Any, **options: Any) -> Result:
        assert busy.acquire(blocking=False), "two batches at a time"
        try:
            return call(*arguments, **options)
        finally:
            busy.release()

    return checked
