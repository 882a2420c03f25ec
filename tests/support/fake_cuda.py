"""A GPU whose memory is host memory, as PyTorch and pycuda show it.

Its streams do their work at once, but for one that is being captured: there, as on a GPU, work is recorded and not
done.
"""

import contextlib
import sys
from collections.abc import Callable
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

Work = Callable[[], None]

_streams: dict[int, "FakeStream"] = {}
_handles = count(1234)


class FakeStream:
    """A stream of PyTorch and of pycuda."""

    def __init__(self) -> None:
        self.handle = self.cuda_stream = next(_handles)
        self.recording: list[Work] | None = None
        _streams[self.handle] = self

    def synchronize(self) -> None:
        assert self.recording is None, "waiting for a stream breaks its recording"


def launch(handle: int, work: Work) -> None:
    """Do the work on a stream, or record it."""
    recording = _streams[handle].recording
    if recording is None:
        work()
    else:
        recording.append(work)


class FakeGraph:
    """What ``torch.cuda.graph`` recorded."""

    def __init__(self) -> None:
        self.recorded: list[Work] = []

    def replay(self) -> None:
        assert self.recorded, "the graph is empty"
        for work in self.recorded:
            work()


@contextlib.contextmanager
def fake_capture(graph: FakeGraph, stream: FakeStream, capture_error_mode: str) -> Any:
    """``torch.cuda.graph``."""
    assert capture_error_mode == "thread_local", "other threads may allocate meanwhile"
    stream.recording = graph.recorded
    try:
        yield
    finally:
        stream.recording = None


class FakeArray:
    """A pycuda GPUArray."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.memory = np.zeros(shape, dtype)
        self.gpudata = self.memory.ctypes.data

    def set(self, array: np.ndarray) -> None:
        self.memory[...] = array

    def get(self) -> np.ndarray:
        return self.memory.copy()


def install_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch see the GPU."""
    cuda: dict[str, Any] = {
        "is_available": lambda: True,
        "Stream": FakeStream,
        "stream": lambda stream: contextlib.nullcontext(),
        "CUDAGraph": FakeGraph,
        "graph": fake_capture,
    }
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for make in (torch.zeros, torch.empty):
        monkeypatch.setattr(torch, make.__name__, _on_host(make))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)


def _on_host(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def made(*sizes: Any, device: str | None = None, **options: Any) -> torch.Tensor:
        return make(*sizes, device="cpu" if device == "cuda" else device, **options)

    return made


def install_pycuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a stand-in in the place of pycuda; returns the log of pushed and popped contexts."""
    log: list[str] = []
    primary = SimpleNamespace(push=lambda: log.append("push"))
    driver, gpuarray, pycuda = (ModuleType(name) for name in ("pycuda.driver", "pycuda.gpuarray", "pycuda"))
    members: dict[str, Any] = {
        "init": lambda: None,
        "Device": lambda index: SimpleNamespace(retain_primary_context=lambda: primary),
        "Context": SimpleNamespace(pop=lambda: log.append("pop")),
        "Stream": FakeStream,
    }
    vars(driver).update(members)
    vars(gpuarray).update(GPUArray=FakeArray)
    vars(pycuda).update(driver=driver, gpuarray=gpuarray)
    for module in (pycuda, driver, gpuarray):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "engines.trt.pycuda_runner", raising=False)
    return log
