"""Memory of a network is what it holds and what a run takes in addition, by PyTorch's allocator or the device's."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.gpu_suite import memory
from benchmarks.gpu_suite.memory import MemoryMeter, open_measured


@dataclass
class Device:
    """The counters of a device, in bytes."""

    reserved: int = 1000
    allocated: int = 900
    peak: int = 5000
    used: int = 4000
    log: list[str] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        functions: dict[str, Any] = {
            "memory_reserved": lambda: self.reserved,
            "memory_allocated": lambda: self.allocated,
            "max_memory_allocated": lambda: self.peak,
            "reset_peak_memory_stats": lambda: setattr(self, "peak", self.allocated),
            "synchronize": lambda: self.log.append("wait"),
        }
        for name, function in functions.items():
            monkeypatch.setattr(memory.torch.cuda, name, function)
        monkeypatch.setattr(memory, "used_device_memory", lambda _: self.used)


class Network:
    """A network that holds 300 bytes of PyTorch's and 50 others, and takes 70 more in a run."""

    waits = False

    def __init__(self, device: Device, allocates_itself: bool) -> None:
        self.device, self.allocates_itself = device, allocates_itself
        device.reserved, device.allocated, device.used = 1300, 1200, 4350

    def turn(self) -> Any:
        return nullcontext()

    def run(self) -> None:
        self.device.peak = self.device.allocated + 70


@pytest.mark.parametrize(("allocates_itself", "expected"), [(False, 370), (True, 420)])
def test_what_is_held_and_what_a_run_takes(
    monkeypatch: pytest.MonkeyPatch, allocates_itself: bool, expected: int
) -> None:
    device = Device()
    device.install(monkeypatch)
    meter = MemoryMeter()
    assert meter.of(Network(device, allocates_itself)) == expected  # type: ignore[arg-type]
    assert device.log == ["wait"]


class Closing(Network):
    """A network for which libraries load 200 bytes of code, which stay when it is closed."""

    def __init__(self, device: Device, allocates_itself: bool) -> None:
        super().__init__(device, allocates_itself)
        device.used += 200

    def __del__(self) -> None:
        self.device.reserved, self.device.allocated, self.device.used = 1000, 900, 4200


@pytest.mark.parametrize(("allocates_itself", "openings", "expected"), [(False, 1, 370), (True, 2, 420)])
def test_code_that_libraries_load_once_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, allocates_itself: bool, openings: int, expected: int
) -> None:
    device, opened = Device(), 0
    device.install(monkeypatch)

    def make() -> Any:
        nonlocal opened
        opened += 1
        return Closing(device, allocates_itself)

    network, found = open_measured(make)
    assert isinstance(network, Closing)
    assert (opened, found) == (openings, expected)
