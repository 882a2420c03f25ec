"""A stand-in for the builder of ``tensorrt``: it parses nothing, and the network is a convolution of float32."""

import json
import sys
from enum import Enum
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engines.trt import builder
from engines.trt.device import CudaDevice
from tests.support.fake_tensorrt import FakeLogger

TENSOR = {"Format/Datatype": "Float"}
CONVOLUTION = {"LayerType": "conv", "Inputs": [TENSOR], "Outputs": [TENSOR]}


LayerType = Enum("LayerType", ["CONVOLUTION", "DEQUANTIZE", "PLUGIN_V3"])


def make_layer(name: str, kind: LayerType) -> Any:
    """A layer of the parsed network, which reads and writes float32."""
    tensor = SimpleNamespace(name=f"{name}.out", dtype=SimpleNamespace(name="FLOAT"))
    return SimpleNamespace(name=name, type=kind, num_outputs=1, get_input=lambda _: tensor, get_output=lambda _: tensor)


class FakeTensorRT:
    """The module, and what happened to it. Tests set what stands before ``__init__``."""

    refusal: str | None = None
    """What the logger is told when a plugin library is refused; None accepts libraries."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """Calls of which the order matters."""
        self.logger: FakeLogger | None = None
        """Logger of all that TensorRT does on its own; the first builder or runtime brings it."""
        self.flags = {"TF32"}
        """Flags of the build; TensorRT's default at first."""
        self.config: Any = None
        """The configuration of the last build."""
        self.plugins: tuple[str, ...] = ()
        """Names of the nodes that the parser makes plugin layers of."""
        self.inspected = [CONVOLUTION]
        """What the inspector says of the engine's layers."""

    def create_builder(self, logger: FakeLogger) -> Any:
        self.calls.append("builder")
        self.logger = logger
        self.config = config = SimpleNamespace(set_flag=self.flags.add, clear_flag=self.flags.discard)
        profile = SimpleNamespace(set_shape=lambda *_: None)
        config.add_optimization_profile = lambda profile: 0
        config.create_timing_cache = lambda content: SimpleNamespace(serialize=lambda: b"times")
        config.set_timing_cache = lambda cache, ignore_mismatch: True
        plugins = (make_layer(name, LayerType.PLUGIN_V3) for name in self.plugins)
        layers = [make_layer("features", LayerType.CONVOLUTION), *plugins]
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__),
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: b"engine",
        )

    def create_parser(self, network: Any, logger: FakeLogger) -> Any:
        self.calls.append("parser")
        return SimpleNamespace(parse_from_file=lambda path: True)

    def create_runtime(self, logger: FakeLogger) -> Any:
        self.calls.append("runtime")
        self.logger = self.logger or logger
        runtime = SimpleNamespace(engine_host_code_allowed=False)

        def deserialize(content: bytes) -> Any:
            if "VERSION_COMPATIBLE" in self.flags and not runtime.engine_host_code_allowed:
                logger.log(1, "host code is not allowed")
                return None
            inspector = SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": self.inspected}))
            return SimpleNamespace(create_engine_inspector=lambda: inspector)

        runtime.deserialize_cuda_engine = deserialize
        return runtime

    def init_plugins(self, logger: FakeLogger, namespace: str) -> bool:
        self.calls.append("TensorRT's plugins")
        return True

    def load_library(self, path: str) -> object | None:
        self.calls.append("library")
        if self.refusal is None:
            return object()
        if self.logger is not None:
            self.logger.log(1, self.refusal)
        return None

    def module(self) -> ModuleType:
        """What ``import tensorrt`` gives."""
        trt = ModuleType("tensorrt")
        members: dict[str, Any] = {
            "__spec__": ModuleSpec("tensorrt", None),
            "__version__": "10.13.0.35",
            "ILogger": FakeLogger,
            "IProgressMonitor": type("IProgressMonitor", (), {"__init__": lambda monitor: None}),
            "Builder": self.create_builder,
            "OnnxParser": self.create_parser,
            "Runtime": self.create_runtime,
            "init_libnvinfer_plugins": self.init_plugins,
            "get_plugin_registry": lambda: SimpleNamespace(load_library=self.load_library),
            "NetworkDefinitionCreationFlag": SimpleNamespace(STRONGLY_TYPED=1),
            "LayerType": LayerType,
            "TilingOptimizationLevel": SimpleNamespace(NONE=0, FAST=1, MODERATE=2, FULL=3),
            "ProfilingVerbosity": SimpleNamespace(DETAILED=2),
            "LayerInformationFormat": SimpleNamespace(JSON=1),
            "BuilderFlag": SimpleNamespace(TF32="TF32", VERSION_COMPATIBLE="VERSION_COMPATIBLE"),
            "ComputeCapability": SimpleNamespace(SM89=89),
        }
        vars(trt).update(members)
        return trt


def install(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    """Put the stand-in in the place of TensorRT, on a machine with an L4."""
    fake = FakeTensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module())
    monkeypatch.setattr(builder, "cuda_device", lambda: CudaDevice("NVIDIA L4", "8.9", "13.0", "580.65"))
    return fake
