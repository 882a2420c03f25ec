"""Stand-ins for ``tensorrt`` and ``pycuda`` whose device memory is host memory.

The engine is an ONNX file that ONNX Runtime computes, so a runner's results can be compared. They check what the real
ones only punish later: every address set, every shape within the profile, work in the pushed context only.
"""

import ctypes
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from engines.base import OUTPUTS
from engines.trt.runtime import INPUTS

TYPES = {"tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(float)": "float32"}


class FakeContext:
    """Of one engine; runs synchronously."""

    def __init__(self, engine: "FakeEngine") -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        return shape[0] <= self.engine.largest_batch

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch = self.shapes["images"][0]
        return {"boxes": (batch, 3, 4), "num_detections": (batch,), "masks": (batch, 3, 4, 4)}.get(name, (batch, 3))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if self.engine.fails:
            return False
        assert stream == STREAM
        feed = {name: self._view(name, self.shapes[name]) for name in INPUTS}
        for name, array in zip(OUTPUTS, self.engine.session.run(list(OUTPUTS), feed), strict=True):
            self._view(name, array.shape)[...] = array
        return True

    def _view(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        dtype = np.dtype(self.engine.types[name])
        data = (ctypes.c_byte * (int(np.prod(shape)) * dtype.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(memoryview(data), dtype).reshape(shape)


class FakeEngine:
    """A "deserialised" ONNX file."""

    largest_batch = 4
    fails = False

    def __init__(self, content: bytes) -> None:
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        described = (*self.session.get_inputs(), *self.session.get_outputs())
        self.types = {each.name: TYPES[each.type] for each in described}
        self.num_io_tensors = len(described)
        self.get_tensor_name = [each.name for each in described].__getitem__
        self.get_tensor_dtype = self.types.__getitem__

    def create_execution_context(self) -> FakeContext:
        return FakeContext(self)


class FakeLogger:
    """The base class of loggers."""

    Severity = SimpleNamespace(ERROR=1, WARNING=2)

    def log(self, severity: int, message: str) -> None:
        raise NotImplementedError


class FakeRuntime:
    """Deserialises."""

    def __init__(self, logger: FakeLogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
        try:
            return FakeEngine(content)
        except Exception as error:
            self.logger.log(1, str(error))
            return None


STREAM = 1234


class FakeArray:
    """A pycuda GPUArray, in host memory."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.memory = np.zeros(shape, dtype)
        self.gpudata = self.memory.ctypes.data

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.memory.__array_interface__)

    def set(self, array: np.ndarray) -> None:
        self.memory[...] = array

    def get(self) -> np.ndarray:
        return self.memory.copy()


def install(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put the stand-ins in the place of the real modules; returns the log of pushed and popped contexts."""
    log: list[str] = []
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = "10.13.0.35"
    trt.ILogger, trt.Runtime, trt.nptype = FakeLogger, FakeRuntime, np.dtype
    trt.get_plugin_registry = lambda: SimpleNamespace(load_library=Path)
    primary = SimpleNamespace(push=lambda: log.append("push"))
    driver: Any = ModuleType("pycuda.driver")
    driver.init = lambda: None
    driver.Device = lambda index: SimpleNamespace(retain_primary_context=lambda: primary)
    driver.Context = SimpleNamespace(pop=lambda: log.append("pop"), synchronize=lambda: None)
    driver.Stream = lambda: SimpleNamespace(handle=STREAM, synchronize=lambda: None)
    pycuda: Any = ModuleType("pycuda")
    gpuarray: Any = ModuleType("pycuda.gpuarray")
    pycuda.driver, gpuarray.GPUArray = driver, FakeArray
    modules = {"tensorrt": trt, "pycuda": pycuda, "pycuda.driver": driver, "pycuda.gpuarray": gpuarray}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "engines.trt.pycuda_runner", raising=False)
    return log


def write_engine(onnx: Path) -> Path:
    """The "engine" of an ONNX file."""
    engine = onnx.with_suffix(".engine")
    engine.write_bytes(onnx.read_bytes())
    return engine
