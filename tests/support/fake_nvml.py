"""A stand-in for the module ``pynvml`` and for PyTorch's view of one GPU."""

import sys
from collections.abc import Iterable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

UUID = "6e8a1f52-0000-1111-2222-333344445555"


class FakeNvml(ModuleType):
    """Answers from a table; what is not in it is not supported.

    Args:
        answers: answers by function, and by the sensor or clock that is asked for.
        handles: UUIDs that the driver knows.
        driver: whether there is a driver.
    """

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = "sm", "memory", "chip"

    class NVMLError(Exception):
        """An error code of the library."""

    def __init__(self, answers: dict[str, Any], handles: Iterable[str] = (f"GPU-{UUID}",), driver: bool = True) -> None:
        super().__init__("pynvml")
        self.answers, self.handles, self.driver = answers, handles, driver

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return partial(self._answer, name)

    def _answer(self, name: str, *arguments: Any) -> Any:
        if name == "nvmlInit" and self.driver:
            return None
        if name == "nvmlDeviceGetHandleByUUID" and arguments[0] in self.handles:
            return arguments[0]
        found = self.answers.get(name)
        found = found.get(arguments[-1]) if isinstance(found, dict) else found
        if found is None:
            raise self.NVMLError("Not Supported")
        return found


def install(nvml: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``import pynvml`` give this module, or none, and PyTorch see the GPU of :data:`UUID`."""
    properties = SimpleNamespace(uuid=UUID)
    cuda = SimpleNamespace(is_available=lambda: True, get_device_properties=lambda device: properties)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
