"""A stand-in for ``tensorrt`` on the GPU of :mod:`tests.support.fake_cuda`.

The engine is an ONNX file that ONNX Runtime computes, so a runner's results can be compared. It checks what the real
one only punishes later: every address set, every shape within the profile, work on a stream that exists.
"""

import ctypes
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

from refinemask.contract import INPUTS, OUTPUTS
from tests.support import fake_cuda

TYPES = {"tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(float)": "float32"}
Shape = tuple[int, ...]


class FakeAllocator:
    """The base class of output allocators."""


class FakeContext:
    """An execution context."""

    def __init__(self, engine: "FakeEngine") -> None:
        self.engine = engine
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.allocators: dict[str, Any] = {}
        self.calls = 0
        """Times that it was told to execute."""
        self.executions = 0
        """Times that it did, recordings replayed included."""

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self.shapes[name] = tuple(shape)
        return shape[0] <= self.engine.largest_batch

    def get_tensor_shape(self, name: str) -> Shape:
        batch = self.shapes["images"][0]
        places = -1 if name in self.engine.data_dependent else 3
        shapes = {"boxes": (batch, places, 4), "num_detections": (batch,), "masks": (batch, places, 4, 4)}
        return shapes.get(name, (batch, places))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self.allocators[name] = allocator
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.calls += 1
        if self.engine.fails:
            return False
        fake_cuda.launch(stream, lambda: self._execute(stream))
        return True

    def _execute(self, stream: int) -> None:
        self.executions += 1
        self.engine.while_executing(self)
        feed = {name: self._view(name, self.shapes[name]) for name in INPUTS}
        computed = dict(zip(OUTPUTS, self.engine.session.run(list(OUTPUTS), feed), strict=True))
        self.engine.distort(computed)
        for name, array in computed.items():
            if name in self.engine.data_dependent:
                allocator = self.allocators[name]
                self.addresses[name] = allocator.reallocate_output_async(name, 0, array.nbytes, 256, stream)
                allocator.notify_shape(name, array.shape)
            self._view(name, array.shape)[...] = array

    def _view(self, name: str, shape: Shape) -> np.ndarray:
        dtype = np.dtype(self.engine.types[name])
        data: Any = (ctypes.c_byte * (int(np.prod(shape)) * dtype.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(data, dtype).reshape(shape)


class FakeEngine:
    """A "deserialised" ONNX file. Tests set what stands before ``__init__``."""

    largest_batch = 4
    fails = False
    most_contexts = 100
    """Number of execution contexts that there is memory for."""
    data_dependent: tuple[str, ...] = ()
    """Outputs whose shape is known after the execution only."""
    while_executing: Callable[[FakeContext], None] = staticmethod(lambda context: None)
    profile: ClassVar[list[Shape]] = [(1, 3, 32, 32), (1, 3, 64, 64), (2, 3, 96, 96)]
    """Shapes of the images in the profile: the smallest, the usual, the largest."""
    distort: Callable[[dict[str, np.ndarray]], None] = staticmethod(lambda outputs: None)
    """Changes the outputs of an execution, as an engine does that computes wrongly."""
    opened: ClassVar[list["FakeEngine"]] = []

    def __init__(self, content: bytes, logger: "FakeLogger") -> None:
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.logger = logger
        self.contexts: list[FakeContext] = []
        described = (*self.session.get_inputs(), *self.session.get_outputs())
        self.types = {each.name: TYPES[each.type] for each in described}
        self.num_io_tensors = len(described)
        self.get_tensor_name = [each.name for each in described].__getitem__
        self.get_tensor_dtype = self.types.__getitem__
        self.get_tensor_shape = {"images": (-1, 3, -1, -1)}.__getitem__
        self.get_tensor_profile_shape = lambda name, profile: self.profile
        self.opened.append(self)

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda form: '{"Layers": ["names", "alone"]}')

    def create_execution_context(self) -> FakeContext | None:
        if len(self.contexts) == self.most_contexts:
            self.logger.log(1, "out of memory")
            return None
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class FakeLogger(ABC):
    """The base class of loggers, which must say what becomes of a message."""

    Severity = SimpleNamespace(ERROR=1, WARNING=2)

    @abstractmethod
    def log(self, severity: Any, message: str) -> None:
        """Take one of TensorRT's messages."""


class FakeRuntime:
    """Deserialises."""

    calls: ClassVar[list[str]] = []
    """The runtimes that were made, and the plugins that were registered, in order."""

    def __init__(self, logger: FakeLogger) -> None:
        self.logger = logger
        self.calls.append("runtime")

    def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
        try:
            return FakeEngine(content, self.logger)
        # The runtime of ONNX has many kinds; TensorRT logs and returns nothing.
        except Exception as error:
            self.logger.log(1, str(error))
            return None


def _load_library(path: str) -> object:
    FakeRuntime.calls.append("library")
    return object()


def install(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put the stand-ins in the place of TensorRT, pycuda and PyTorch's GPU.

    Returns:
        The log of the contexts that pycuda pushed and popped.
    """
    trt = ModuleType("tensorrt")
    members: dict[str, Any] = {
        "__spec__": ModuleSpec("tensorrt", None),
        "__version__": "10.13.0.35",
        "ILogger": FakeLogger,
        "IOutputAllocator": FakeAllocator,
        "Runtime": FakeRuntime,
        "nptype": np.dtype,
        "LayerInformationFormat": SimpleNamespace(JSON=1),
        "init_libnvinfer_plugins": lambda logger, namespace: FakeRuntime.calls.append("TensorRT's plugins"),
        "get_plugin_registry": lambda: SimpleNamespace(load_library=_load_library),
    }
    vars(trt).update(members)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(FakeEngine, "opened", [])
    monkeypatch.setattr(FakeRuntime, "calls", [])
    fake_cuda.install_torch(monkeypatch)
    return fake_cuda.install_pycuda(monkeypatch)


def write_engine(onnx: Path) -> Path:
    """The "engine" of an ONNX file."""
    engine = onnx.with_suffix(".engine")
    engine.write_bytes(onnx.read_bytes())
    return engine
