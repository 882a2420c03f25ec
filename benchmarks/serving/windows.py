"""When a load has been measured for long enough: by the method of NVIDIA's perf_analyzer.

A fixed number of requests is in flight all the time. Windows of time follow each other until the last three agree in
throughput and in mean latency. These three are the result.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple, Protocol

from refinemask.files import UserError

WINDOWS = 3
"""Windows in a row that must agree."""


class Finished(NamedTuple):
    """A request that was answered."""

    end: float
    """When its answer came, in seconds of a clock."""
    seconds: float
    """How long that took."""


class Load(Protocol):
    """Clients that each send a request as soon as the one before is answered."""

    def start(self, clients: int) -> None:
        """Begin to send."""

    def finished(self) -> Sequence[Finished]:
        """The answered requests until now, in the order of their ends.

        Raises:
            Exception: what a client failed by.
        """

    def stop(self) -> None:
        """Send no more, and wait for what is in flight."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How long a load is measured."""

    seconds: float
    """Length of a window."""
    within: float
    """Share by which each of the windows may differ from their mean."""
    most: int
    """Number of windows after which an unsteady load is given up."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The requests that ended within one window."""

    per_second: float
    latencies: tuple[float, ...]
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class Steady:
    """The last windows of a load."""

    windows: tuple[Window, ...]
    is_stable: bool
    """Whether they agree."""
    measured: int
    """Number of all windows."""

    @property
    def latencies(self) -> tuple[float, ...]:
        """Seconds of each request of these windows."""
        return tuple(latency for window in self.windows for latency in window.latencies)


def measure(load: Load, clients: int, rule: Rule, wait: Callable[[float], None] = time.sleep) -> Steady:
    """Load a server until the last windows agree, or there were enough of them.

    Args:
        load: the clients.
        clients: requests in flight.
        rule: length and number of windows, and how near they must be.
        wait: waits for a number of seconds.

    Raises:
        UserError: no request was answered in a window.
    """
    load.start(clients)
    try:
        windows: list[Window] = []
        begin = time.perf_counter()
        while len(windows) < rule.most:
            wait(max(0.0, begin + rule.seconds - time.perf_counter()))
            end = time.perf_counter()
            windows.append(_window(load.finished(), begin, end))
            begin = end
            if len(windows) >= WINDOWS and agree(windows[-WINDOWS:], rule.within):
                return Steady(windows=tuple(windows[-WINDOWS:]), is_stable=True, measured=len(windows))
        return Steady(windows=tuple(windows[-WINDOWS:]), is_stable=False, measured=len(windows))
    finally:
        load.stop()


def agree(windows: Sequence[Window], within: float) -> bool:
    """Whether throughput and mean latency of each window differ from those of all by no more than a share."""
    for values in ([each.per_second for each in windows], [mean(each.latencies) for each in windows]):
        middle = mean(values)
        if any(abs(value - middle) > within * middle for value in values):
            return False
    return True


def _window(finished: Sequence[Finished], begin: float, end: float) -> Window:
    latencies = tuple(each.seconds for each in finished if begin <= each.end < end)
    if not latencies:
        raise UserError(
            f"no request was answered within {end - begin:.3g} s; expected longer windows: --window-seconds"
        )
    return Window(per_second=len(latencies) / (end - begin), latencies=latencies)
