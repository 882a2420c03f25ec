"""One network in one runtime, in a process of its own.

The functions run in child processes that are spawned, which do not import the command's ``__main__`` again.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import engines
from benchmarks.harness.spec import EngineSpec
from benchmarks.peers import torchvision_detector

TORCHVISION, OURS = "torchvision", "this project"
Run = Callable[[], int]
"""Function that runs one image through a network and returns the number of detections."""


@dataclass(frozen=True)
class Contender:
    """A network and the runtime that computes it."""

    network: str
    """Network, :data:`TORCHVISION` or :data:`OURS`."""
    spec: EngineSpec
    """File and engine; with the backend ``pytorch``, torchvision's network runs without a file."""


_run: Run


def open_contender(contender: Contender, images: np.ndarray, image_sizes: np.ndarray, threads: int) -> int:
    """Make the contender this process's own; returns the process's id.

    Not an initialiser of the process, because the errors of those do not reach the parent.

    Raises:
        UserError: the engine cannot be loaded.
    """
    global _run
    spec = contender.spec
    if contender.network == TORCHVISION:
        _run = torchvision_detector.open_network(spec, images, threads)
        return os.getpid()
    engine = engines.load(spec.path, backend=spec.backend, precision=spec.precision, threads=threads)
    inputs = engine.upload(images, image_sizes)

    def run() -> int:
        return int(engine.download(engine.run(inputs)).num_detections[0])

    _run = run
    return os.getpid()


def run_contender() -> tuple[float, int]:
    """Run this process's contender once; returns wall-clock seconds and the number of detections."""
    start = time.perf_counter()
    detections = _run()
    return time.perf_counter() - start, detections
