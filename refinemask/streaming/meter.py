"""How busy each stage of a pipeline is, which tells the one that limits. Imports no PyTorch."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock


@dataclass
class _Stage:
    capacity: int
    inside: int = 0
    busy: float = 0.0
    """Seconds of work until ``since``, of all of the capacity together."""
    since: float = 0.0

    def advance(self, now: float) -> None:
        self.busy += min(self.inside, self.capacity) * (now - self.since)
        self.since = now


class Meter:
    """Counts who is in which stage, and for how long; several threads use it at once."""

    def __init__(
        self,
        capacities: Mapping[str, int],
        together: Collection[str] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin to measure.

        Args:
            capacities: by stage, how many threads it keeps busy at most; who waits for it is inside, too.
            together: stages that the same threads do in turn.
            clock: the time in seconds.
        """
        self._together = together
        # The garbage collector may end an iteration, and so leave a stage, in a thread that is about to move.
        self._clock, self._lock, self._start = clock, RLock(), clock()
        self._stages = {name: _Stage(capacity, since=self._start) for name, capacity in capacities.items()}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Within the block, this thread is in a stage."""
        self._move(stage, 1)
        try:
            yield
        finally:
            self._move(stage, -1)

    def _move(self, stage: str, change: int) -> None:
        with self._lock:
            counted = self._stages[stage]
            counted.advance(self._clock())
            counted.inside += change

    def shares(self) -> dict[str, float]:
        """By stage, which share of its capacity was busy, from 0 to 1, since the beginning."""
        with self._lock:
            now = self._clock()
            for stage in self._stages.values():
                stage.advance(now)
            seconds = max(now - self._start, 1e-9)
            return {name: stage.busy / (stage.capacity * seconds) for name, stage in self._stages.items()}

    def limit(self) -> str:
        """The stage that is busiest, for which the others wait; of those with the same threads the longest."""
        shares = self.shares()
        apart = {name: share for name, share in shares.items() if name not in self._together}
        limits = max(apart, key=apart.__getitem__)
        if sum(shares[name] for name in self._together) > apart[limits]:
            return max(self._together, key=shares.__getitem__)
        return limits
