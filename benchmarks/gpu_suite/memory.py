"""Memory of the device that one network takes, while others lie beside it."""

import gc
from collections.abc import Callable

import torch

from benchmarks.gpu_suite.opened import Opened
from benchmarks.harness.load import used_device_memory


class MemoryMeter:
    """What is taken from now on until a network has run."""

    def __init__(self) -> None:
        free_memory()
        self._before = torch.cuda.memory_reserved(), used_device_memory("cuda") or 0

    def of(self, opened: Opened) -> int:
        """Bytes of a network that was opened meanwhile and has run: what it holds, and what a run takes in addition.

        What is allocated beside PyTorch is seen as growth of the device's used memory. Code that libraries loaded
        meanwhile is part of that: a network that was open before has loaded its own already.
        """
        free_memory()
        after = torch.cuda.memory_reserved(), used_device_memory("cuda") or 0
        reserved, used = (end - start for start, end in zip(self._before, after, strict=True))
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
        with opened.turn():
            opened.run()
        torch.cuda.synchronize()
        passing = torch.cuda.max_memory_allocated() - allocated
        return (used if opened.allocates_itself else reserved) + passing


def open_measured(make: Callable[[], Opened]) -> tuple[Opened, int]:
    """What ``make`` opens and has run once, and its bytes of the device's memory, by :class:`MemoryMeter`.

    Where memory is taken beside PyTorch, it is opened twice: the code that libraries load for it the first time stays
    loaded, and is no part of what the network takes.
    """
    meter, opened = MemoryMeter(), make()
    if opened.allocates_itself:
        del opened
        meter, opened = MemoryMeter(), make()
    return opened, meter.of(opened)


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
