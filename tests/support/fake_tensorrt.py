"""A stand-in for ``tensorrt`` on the GPU of :mod:`tests.support.fake_cuda`.

The engine is an ONNX file that ONNX Runtime computes, so a runner's results can be compared. It checks what the real
one only punishes later: every address set and not freed, every shape within the profile, enough memory to compute in
that no other context computes in meanwhile, work on a stream that exists. Memory and outputs hold nonsense while it
computes. What was launched or recorded uses the shapes and addresses of that moment.
"""

import ctypes
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import onnxruntime
import pytest

# What it imports looks for a TensorRT, and must not meet the stand-ins.
import engines.trt.torch_runner  # noqa: F401
from refinemask.contract import INPUTS, OUTPUTS
from tests.support import fake_cuda

STATIC, USER_MANAGED = "static", "user managed"
TYPES = {"tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(float)": "float32"}
Shape = tuple[int, ...]


class FakeAllocator:
    """The base class of output allocators."""


class FakeContext:
    """An execution context."""

    computing: ClassVar[dict[int, int]] = {}
    """Addresses of the memories that are computed in, each with its thread."""

    def __init__(self, engine: "FakeEngine") -> None:
        self.engine = engine
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.allocators: dict[str, Any] = {}
        self.needed: int | None = None
        """Bytes to compute in, where the user manages them; None before somebody asked."""
        self.memory: tuple[int, int] | None = None
        """Address and size of the memory to compute in."""
        self.memories: list[tuple[int, int]] = []
        """All memories that it was given."""
        self.calls = 0
        """Times that it was told to execute."""
        self.executions = 0
        """Times that it did, recordings replayed included."""
        self.addresses_set = 0
        """Times that an address was set."""

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self.shapes[name] = tuple(shape)
        self.needed = None
        return shape[0] <= self.engine.largest_batch

    def get_tensor_shape(self, name: str) -> Shape:
        batch = self.shapes["images"][0]
        places = -1 if name in self.engine.data_dependent else 3
        shapes = {"boxes": (batch, places, 4), "num_detections": (batch,), "masks": (batch, places, 4, 4)}
        return shapes.get(name, (batch, places))

    def update_device_memory_size_for_shapes(self) -> int:
        assert set(self.shapes) == {*INPUTS}, "all input shapes must be set before"
        self.needed = memory_size(self.shapes["images"])
        return self.needed

    def set_device_memory(self, memory: int, size: int) -> None:
        assert memory % fake_cuda.ALIGNMENT == 0, "the memory is not aligned"
        self.memory = memory, size
        self.memories.append(self.memory)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses_set += 1
        self.addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self.allocators[name] = allocator
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        """What TensorRT-RTX alone has."""
        return self.engine.capturable

    def execute_async_v3(self, stream: int) -> bool:
        self.calls += 1
        if self.engine.fails or not self._is_complete():
            return False
        launched = _Launched(self, stream, dict(self.shapes), dict(self.addresses), self.memory)
        fake_cuda.launch(stream, launched.execute)
        return True

    def _is_complete(self) -> bool:
        """Whether nothing is missing; the logger is told what is."""
        missing = {*INPUTS, *OUTPUTS} - {*self.addresses, *self.allocators}
        if missing:
            self.engine.logger.log(1, f"no address of {sorted(missing)} is set")
        elif self.needed is None:
            self.engine.logger.log(1, "nobody asked for the size of the memory since the shapes were set")
        elif self.memory is None or self.memory[1] < self.needed:
            self.engine.logger.log(1, f"memory is {self.memory}, but {self.needed} bytes are needed")
        else:
            return True
        return False


def memory_size(images: Shape) -> int:
    """Bytes that images of this shape are computed in."""
    return int(np.prod(images)) + 13


class _Launched(NamedTuple):
    """An execution as it was launched or recorded."""

    context: FakeContext
    stream: int
    shapes: dict[str, Shape]
    addresses: dict[str, int]
    memory: tuple[int, int] | None

    def execute(self) -> None:
        context, engine = self.context, self.context.engine
        context.executions += 1
        assert self.memory is not None
        address, needed = self.memory[0], memory_size(self.shapes["images"])
        assert fake_cuda.in_memory(address, needed), "it computes in memory that was freed"
        assert address not in FakeContext.computing, "another context computes in the same memory"
        FakeContext.computing[address] = threading.get_ident()
        try:
            feed = {name: self._view(name, self.shapes[name]).copy() for name in INPUTS}
            for name in {*OUTPUTS} - {*engine.data_dependent}:
                self._view(name, context.get_tensor_shape(name)).view(np.uint8).fill(fake_cuda.NONSENSE)
            ctypes.memset(address, fake_cuda.NONSENSE, needed)
            engine.while_executing(context)
            computed = dict(zip(OUTPUTS, engine.session.run(list(OUTPUTS), feed), strict=True))
            engine.distort(computed)
        finally:
            del FakeContext.computing[address]
        for name, array in computed.items():
            if name in engine.data_dependent:
                allocator = context.allocators[name]
                self.addresses[name] = allocator.reallocate_output_async(
                    name, 0, array.nbytes, fake_cuda.ALIGNMENT, self.stream
                )
                allocator.notify_shape(name, array.shape)
            self._view(name, array.shape)[...] = array

    def _view(self, name: str, shape: Shape) -> np.ndarray:
        dtype = np.dtype(self.context.engine.types[name])
        size = int(np.prod(shape)) * dtype.itemsize
        assert fake_cuda.in_memory(self.addresses[name], size), f"the memory of {name} was freed or is too small"
        data: Any = (ctypes.c_byte * size).from_address(self.addresses[name])
        return np.frombuffer(data, dtype).reshape(shape)


class FakeRuntimeConfig:
    """What TensorRT-RTX, and newer TensorRT, make contexts by."""

    strategy = STATIC
    dynamic_shapes_kernel_specialization_strategy = "lazy"

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy


class FakeEngine:
    """A "deserialised" ONNX file. Tests set what stands before ``__init__``."""

    largest_batch = 4
    fails = False
    has_host_code = False
    """Whether it is version compatible, and so carries a runtime, which must be allowed."""
    capturable = True
    """Whether TensorRT-RTX's contexts may be recorded."""
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
        self.configs: list[FakeRuntimeConfig] = []
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

    def create_runtime_config(self) -> FakeRuntimeConfig:
        self.configs.append(FakeRuntimeConfig())
        return self.configs[-1]

    def create_execution_context(self, how: "str | FakeRuntimeConfig" = STATIC) -> FakeContext | None:
        strategy = how.strategy if isinstance(how, FakeRuntimeConfig) else how
        assert strategy == USER_MANAGED, "every context would take the memory of the largest shape of the profile"
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
        self.engine_host_code_allowed = False
        self.calls.append("runtime")

    def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
        if FakeEngine.has_host_code and not self.engine_host_code_allowed:
            self.logger.log(1, "host code is not allowed")
            return None
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
        "ExecutionContextAllocationStrategy": SimpleNamespace(STATIC=STATIC, USER_MANAGED=USER_MANAGED),
        "nptype": np.dtype,
        "LayerInformationFormat": SimpleNamespace(JSON=1),
        "init_libnvinfer_plugins": lambda logger, namespace: FakeRuntime.calls.append("TensorRT's plugins"),
        "get_plugin_registry": lambda: SimpleNamespace(load_library=_load_library),
    }
    vars(trt).update(members)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(FakeEngine, "opened", [])
    monkeypatch.setattr(FakeContext, "computing", {})
    monkeypatch.setattr(FakeRuntime, "calls", [])
    fake_cuda.install_torch(monkeypatch)
    return fake_cuda.install_pycuda(monkeypatch)


def write_engine(onnx: Path) -> Path:
    """The "engine" of an ONNX file."""
    engine = onnx.with_suffix(".engine")
    engine.write_bytes(onnx.read_bytes())
    return engine
