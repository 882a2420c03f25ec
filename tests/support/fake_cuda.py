"""A GPU whose memory is host memory, as PyTorch and pycuda show it.

Its streams do their work at once, but for one that is being captured: there, as on a GPU, work is recorded and not
done. PyTorch's operators are work of the current stream. A recording has memory of its own, which holds nonsense until
it is replayed, and its replays read and write the same tensors each time.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Work = Callable[[], None]

_streams: dict[int, "FakeStream"] = {}
_handles = count(1234)
_current = threading.local()


class FakeStream:
    """A stream of PyTorch and of pycuda."""

    def __init__(self, *, priority: int = 0) -> None:
        self.handle = self.cuda_stream = next(_handles)
        self.priority = priority
        self.recording: list[Work] | None = None
        self.waited_for: list[FakeStream] = []
        """The streams that this one waited for, in order."""
        self.ahead = False
        """Whether work was recorded that no other stream has waited for."""
        _streams[self.handle] = self

    def synchronize(self) -> None:
        assert self.recording is None, "waiting for a stream breaks its recording"

    def wait_stream(self, stream: "FakeStream") -> None:
        self.waited_for.append(stream)
        stream.ahead = False
        if self.recording is None and stream.recording is not None:
            # A recording spreads to the streams that wait for it, and must end where it began.
            self.recording, self.ahead = stream.recording, True


def launch(handle: int, work: Work) -> None:
    """Do the work on a stream, or record it."""
    stream = _streams[handle]
    if stream.recording is None:
        work()
    else:
        stream.ahead = True
        stream.recording.append(work)


def current_stream() -> FakeStream:
    """The stream that PyTorch's operators of this thread run on."""
    return _current.streams[-1]


@contextlib.contextmanager
def fake_stream(stream: FakeStream) -> Iterator[None]:
    """``torch.cuda.stream``."""
    if not hasattr(_current, "streams"):
        _current.streams = [FakeStream()]
    _current.streams.append(stream)
    try:
        yield
    finally:
        _current.streams.pop()


class FakeGraph:
    """What ``torch.cuda.graph`` recorded."""

    made: int = 0
    """Number of graphs since :func:`install_torch`."""

    def __init__(self) -> None:
        type(self).made += 1
        self.recorded: list[Work] = []
        self.pool: object = None

    def replay(self) -> None:
        assert self.recorded, "the graph is empty"
        for work in self.recorded:
            work()


@contextlib.contextmanager
def fake_capture(
    graph: FakeGraph, pool: object = None, *, stream: FakeStream, capture_error_mode: str
) -> Iterator[None]:
    """``torch.cuda.graph``."""
    assert capture_error_mode == "thread_local", "other threads may allocate meanwhile"
    graph.pool = pool
    stream.recording = graph.recorded
    operators = _RecordedOperators(graph.recorded)
    try:
        with fake_stream(stream), operators:
            yield
        operators.forget()
        others = [
            other for other in list(_streams.values()) if other.recording is graph.recorded and other is not stream
        ]
        assert not any(other.ahead for other in others), "a recording ends before a stream that belongs to it"
    finally:
        for each in list(_streams.values()):
            if each.recording is graph.recorded:
                each.recording, each.ahead = None, False


class _RecordedOperators(TorchDispatchMode):
    """PyTorch's operators as recorded work, while this is open.

    Each is computed once, because the following ones need its shape; :meth:`forget` undoes that.
    """

    def __init__(self, recording: list[Work]) -> None:
        super().__init__()
        self._recording = recording
        self._own: list[Tensor] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        assert operator is not torch.ops.aten._local_scalar_dense.default, "reading a value breaks a recording"
        assert current_stream().recording is self._recording, "this stream has not waited for the recorded one"
        schema = operator._schema
        changed = [args[i] for i, argument in enumerate(schema.arguments) if argument.is_write]
        self._before += [(tensor, tensor.clone()) for tensor in changed]
        result = operator(*args, **kwargs)
        if not changed and any(each.alias_info is not None for each in schema.returns):
            return result  # a view
        own = [] if changed else _tensors(result)
        self._own += own

        def work() -> None:
            values = _tensors(operator(*args, **kwargs))
            for memory, value in zip(own, values, strict=not changed):
                memory.copy_(value)

        launch(current_stream().handle, work)
        return result

    def forget(self) -> None:
        """Give memory that was there before its values back, and fill the recording's own with nonsense."""
        for tensor, before in reversed(self._before):
            tensor.copy_(before)
        for tensor in self._own:
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
            elif tensor.dtype != torch.bool:
                tensor.fill_(torch.iinfo(tensor.dtype).max)


def _tensors(result: Any) -> list[Tensor]:
    return [each for each in tree_leaves(result) if isinstance(each, Tensor)]


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
        "get_device_capability": lambda: (9, 0),
        "get_device_name": lambda: "NVIDIA H100",
        "Stream": FakeStream,
        "stream": fake_stream,
        "CUDAGraph": FakeGraph,
        "graph": fake_capture,
        "graph_pool_handle": object,
    }
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(FakeGraph, "made", 0)
    for make in (torch.zeros, torch.empty):
        monkeypatch.setattr(torch, make.__name__, _on_host(make))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor.clone())


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
