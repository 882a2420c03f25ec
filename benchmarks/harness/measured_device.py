"""The device that engines are measured on: its state, and the energy that it has used."""

from collections.abc import Sequence
from typing import Protocol

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.nvml import open_gpu
from benchmarks.harness.rapl import open_rapl

TURN_UPDATES = 5
"""Updates of the counter that a turn must span where engines take turns, or it is charged with a neighbour's energy."""
TOTAL_UPDATES = 20
"""Updates of the counter that all turns together must span: what is left over at both ends is a twentieth then."""


class MeasuredDevice(Protocol):
    """A CPU or GPU whose driver or system may count its energy."""

    update_seconds: float
    """Time between two updates of the energy's counter."""

    def state(self) -> DeviceState | None:
        """Clocks, power and temperature now; None where nothing tells."""

    def joules(self) -> float | None:
        """Energy that the whole device has used since some moment in the past; None where it is not counted."""


def open_device(device: str) -> MeasuredDevice | None:
    """The device as its driver sees it; None where nothing tells of it, and never an error.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``, as PyTorch counts the GPUs that it may use.
    """
    return open_rapl() if device == "cpu" else open_gpu(device)


def attributed(joules: Sequence[float | None], seconds: Sequence[float], update: float, alone: bool) -> float | None:
    """The energy of one engine; None where the counter is too coarse to tell it.

    Args:
        joules: the counter's increase during each turn of the engine; None where it could not be read.
        seconds: duration of each of these turns.
        update: time between two updates of the counter, in seconds.
        alone: whether no other engine takes turns.
    """
    known = [each for each in joules if each is not None]
    total, span = sum(known), sum(seconds)
    if not known or len(known) < len(joules) or total <= 0 or span < TOTAL_UPDATES * update:
        return None
    return total if alone or span / len(seconds) >= TURN_UPDATES * update else None
