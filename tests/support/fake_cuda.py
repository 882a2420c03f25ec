"""A GPU whose memory is host memory, as PyTorch and pycuda show it.

Asynchronous copies and what is launched are done when somebody waits for the stream, and the target of a copy holds
nonsense until then. PyTorch's operators and replays wait for it themselves, and are done at once. On a stream that is
being captured, as on a GPU, work is recorded and not done. A recording has memory of its own, which holds nonsense
until it is replayed, and its replays read and write the same tensors each time. Memory of the device holds nonsense at
first, and is known to be freed when nothing refers to it any more.
"""

import contextlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Work = Callable[[], object]

_streams: dict[int, "FakeStream"] = {}
_handles = count(1234)
_current = threading.local()
_allocated: dict[int, int] = {}
"""Bytes of the device's memory by address."""
_arena: list[np.ndarray] = []
"""All of it, what was freed included, so that nothing else comes to an address."""
ALIGNMENT, NONSENSE = 256, 0xA5


def device_memory(size: int) -> np.ndarray:
    """Bytes of the device's memory, which are freed with the array and all that shows the same bytes."""
    whole = np.full(size + ALIGNMENT, NONSENSE, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    address = whole.ctypes.data + start
    _arena.append(whole)
    owned = whole[start : start + size].view(_Owned)
    _allocated[address] = size
    weakref.finalize(owned, _allocated.pop, address, None)
    return owned


class _Owned(np.ndarray[Any, Any]):
    """An array whose end is noticed."""


def in_memory(address: int, size: int) -> bool:
    """Whether the bytes from ``address`` on are the device's and have not been freed."""
    return any(start <= address and address + size <= start + length for start, length in [*_allocated.items()])


class FakeStream:
    """A stream of PyTorch and of pycuda."""

    def __init__(self, *, priority: int = 0) -> None:
        self.handle = self.cuda_stream = next(_handles)
        self.priority = priority
        self.recording: list[Work] | None = None
        self.pending: list[Work] = []
        """What was launched, in order, and is done when somebody waits for it."""
        self._working = False
        self.waited_for: list[FakeStream] = []
        """The streams that this one waited for, in order."""
        self.ahead = False
        """Whether work was recorded that no other stream has waited for."""
        _streams[self.handle] = self

    def synchronize(self) -> None:
        assert self.recording is None, "waiting for a stream breaks its recording"
        if self._working:
            # What is being done is made of PyTorch's operators itself.
            return
        self._working = True
        try:
            while self.pending:
                self.pending.pop(0)()
        finally:
            self._working = False

    def wait_stream(self, stream: "FakeStream") -> None:
        self.waited_for.append(stream)
        stream.ahead = False
        if stream.recording is None:
            stream.synchronize()
        if self.recording is None and stream.recording is not None:
            # A recording spreads to the streams that wait for it, and must end where it began.
            self.recording, self.ahead = stream.recording, True


def launch(handle: int, work: Work) -> None:
    """Do the work on a stream when it is waited for, or record it."""
    stream = _streams[handle]
    if stream.recording is None:
        stream.pending.append(work)
    else:
        stream.ahead = True
        stream.recording.append(work)


def current_stream(device: object = None) -> FakeStream:
    """The stream that PyTorch's operators of this thread run on."""
    if not hasattr(_current, "streams"):
        _current.streams = [FakeStream()]
    return _current.streams[-1]


@contextlib.contextmanager
def fake_stream(stream: FakeStream) -> Iterator[None]:
    """``torch.cuda.stream``."""
    current_stream()
    _current.streams.append(stream)
    try:
        with _InOrder():
            yield
    finally:
        _current.streams.pop()


class _InOrder(TorchDispatchMode):
    """PyTorch's operators behind what was launched on the current stream before, while this is open."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        stream = current_stream()
        if stream.recording is None and not _is_view(operator):
            stream.synchronize()
        return operator(*args, **(kwargs or {}))


def _is_view(operator: Any) -> bool:
    returns = operator._schema.returns
    return any(each.alias_info is not None and not each.alias_info.is_write for each in returns)


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
        current_stream().synchronize()
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


def install_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch see the GPU."""
    cuda: dict[str, Any] = {
        "is_available": lambda: True,
        "get_device_capability": lambda: (9, 0),
        "get_device_name": lambda: "NVIDIA H100",
        "Stream": FakeStream,
        "stream": fake_stream,
        "current_stream": current_stream,
        "device": lambda device: contextlib.nullcontext(),
        "CUDAGraph": FakeGraph,
        "graph": fake_capture,
        "graph_pool_handle": object,
    }
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(FakeGraph, "made", 0)
    monkeypatch.setattr(torch, "empty", _empty)
    monkeypatch.setattr(torch, "zeros", _zeros)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    monkeypatch.setattr(torch.Tensor, "copy_", _copy)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor.clone())


_torch_empty, _torch_zeros, _torch_copy = torch.empty, torch.zeros, torch.Tensor.copy_


def _empty(*sizes: Any, device: str | None = None, pin_memory: bool = False, **options: Any) -> Tensor:
    if device != "cuda":
        return _torch_empty(*sizes, device=device, **options)
    like = _torch_empty(*sizes, device="meta", **options)
    memory = torch.from_numpy(device_memory(like.nbytes))
    return memory.view(like.dtype).view(like.shape)


def _zeros(*sizes: Any, device: str | None = None, **options: Any) -> Tensor:
    return _torch_zeros(*sizes, device="cpu" if device == "cuda" else device, **options)


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """``torch.Tensor.copy_``."""
    if not non_blocking or current_stream().recording is not None:
        return _torch_copy(target, source)
    target.numpy()[...] = NONSENSE
    launch(current_stream().handle, partial(_torch_copy, target, source))
    return target


class FakeAllocation:
    """Memory of ``pycuda.driver.mem_alloc``."""

    def __init__(self, size: int) -> None:
        assert size > 0, "invalid argument"
        self.memory = device_memory(size)

    def __int__(self) -> int:
        return self.memory.ctypes.data


class PageLocked(np.ndarray[Any, Any]):
    """An array of ``pycuda.driver.pagelocked_empty``."""


def _page_locked(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.empty(shape, dtype).view(PageLocked)


def _to_device(target: FakeAllocation, source: np.ndarray, stream: FakeStream) -> None:
    assert isinstance(source, PageLocked), "the copy would wait"
    assert source.nbytes <= target.memory.nbytes, "invalid argument"

    def work() -> None:
        target.memory[: source.nbytes] = source.reshape(-1).view(np.uint8)

    launch(stream.handle, work)


def _to_host(target: np.ndarray, source: FakeAllocation, stream: FakeStream) -> None:
    assert isinstance(target, PageLocked), "the copy would wait"
    assert target.nbytes <= source.memory.nbytes, "invalid argument"
    flat = target.reshape(-1).view(np.uint8)
    flat[:] = NONSENSE

    def work() -> None:
        flat[:] = source.memory[: flat.nbytes]

    launch(stream.handle, work)


def install_pycuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a stand-in in the place of pycuda; returns the log of pushed and popped contexts."""
    log: list[str] = []
    primary = SimpleNamespace(push=lambda: log.append("push"))

    def in_context(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            assert log.count("push") > log.count("pop"), "invalid device context"
            return call(*arguments)

        return called

    driver, pycuda = ModuleType("pycuda.driver"), ModuleType("pycuda")
    members: dict[str, Any] = {
        "init": lambda: None,
        "Device": lambda index: SimpleNamespace(retain_primary_context=lambda: primary),
        "DeviceAllocation": FakeAllocation,
        "Context": SimpleNamespace(pop=lambda: log.append("pop")),
        "Stream": in_context(FakeStream),
        "mem_alloc": in_context(FakeAllocation),
        "pagelocked_empty": in_context(_page_locked),
        "memcpy_htod_async": in_context(_to_device),
        "memcpy_dtoh_async": in_context(_to_host),
    }
    vars(driver).update(members)
    vars(pycuda).update(driver=driver)
    for module in (pycuda, driver):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "engines.trt.pycuda_runner", raising=False)
    return log
