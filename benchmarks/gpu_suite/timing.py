"""Device times of short work."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Microseconds per call, over all samples."""

    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    n: int
    graph: bool
    """Whether a CUDA graph was replayed; otherwise the work was launched from Python, which the time includes."""

    @classmethod
    def of(cls, samples: Sequence[float], graph: bool) -> "Timing":
        """The order statistics of samples in microseconds."""
        p50, p90, p95, p99 = np.percentile(samples, (50, 90, 95, 99)).tolist()
        return cls(min(samples), p50, p90, p95, p99, len(samples), graph)


class Timer(Protocol):
    """Times work that is given in several equal variants, which take turns so that none finds its data in a cache."""

    def __call__(self, variants: Sequence[Work], graph: bool = True) -> Timing: ...


class CudaTimer:
    """Device events around one round of all variants, divided by their number."""

    def __init__(self, rounds: int = 60, warmup: int = 5) -> None:
        self.rounds, self.warmup = rounds, warmup

    def __call__(self, variants: Sequence[Work], graph: bool = True) -> Timing:
        """Time the variants; with ``graph`` as one CUDA graph, which work that waits for the device does not allow."""

        def together() -> None:
            for work in variants:
                work()

        run = self._captured(together) if graph else together
        for _ in range(self.warmup):
            run()
        samples = []
        for _ in range(self.rounds):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run()
            end.record()
            end.synchronize()
            samples.append(start.elapsed_time(end) * 1000 / len(variants))
        return Timing.of(samples, graph)

    def _captured(self, work: Work) -> Work:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()  # allocations and lazy initialisation must precede the capture
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay


class CpuTimer:
    """A clock around one round of all variants, divided by their number."""

    def __init__(self, rounds: int = 60, warmup: int = 5) -> None:
        self.rounds, self.warmup = rounds, warmup

    def __call__(self, variants: Sequence[Work], graph: bool = True) -> Timing:
        """Time the variants; a CPU has no graph."""
        samples = []
        for number in range(-self.warmup, self.rounds):
            start = time.perf_counter()
            for work in variants:
                work()
            if number >= 0:
                samples.append((time.perf_counter() - start) * 1e6 / len(variants))
        return Timing.of(samples, False)
