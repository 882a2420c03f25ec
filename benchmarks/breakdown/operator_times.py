"""How long each operator of a detector takes, as PyTorch, ONNX Runtime and OpenVINO tell it.

A file's nodes and tensors are renamed to the node's place in the graph before it is opened: runtimes fuse, split and
rename nodes, but keep the name of one of them.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

import engines
from benchmarks.breakdown.parts import part_of
from benchmarks.harness.graph_cost import count, modules_in_order
from benchmarks.harness.spec import EngineSpec
from engines.base import check_inputs
from engines.openvino.core import run_request
from engines.openvino.network import compile_network, inlined
from engines.openvino.precision import PRECISIONS
from engines.openvino.quantised import written_for_openvino
from engines.quantised.for_onnxruntime import write_for_onnxruntime
from engines.torch_engine import TorchEngine
from refinemask.contract import INPUTS, InputError, read_onnx
from refinemask.files import UserError
from refinemask.onnx_session import session_options

Inputs = dict[str, np.ndarray]
Times = tuple[list[dict[str, float]], list[float]]
"""Seconds of every run, by part and as a whole."""
MARK = re.compile(r"<(\d{5})>")


@dataclass(frozen=True)
class OperatorTimes:
    """Runs of one engine, split into parts."""

    name: str
    precision: str
    gflop: dict[str, float]
    """Billions of operations by part, a multiply-add counted as two."""
    seconds: list[dict[str, float]]
    """Seconds of every run, by part."""
    wall: list[float]
    """Seconds of each run as a whole, the recording included."""


def time_operators(spec: EngineSpec, inputs: Inputs, *, threads: int, warmup: int, rounds: int) -> OperatorTimes:
    """Run one engine ``warmup + rounds`` times, operator by operator.

    Args:
        inputs: ``images`` and ``image_sizes``, of the size of an exported file.

    Raises:
        UserError: the file does not take such inputs, or cannot be broken down.
    """
    if spec.path.suffix not in (".safetensors", ".onnx"):
        raise UserError(f"{spec}: cannot be broken down; expected a .safetensors or an .onnx file")
    # What no engine takes is not broken down either.
    engine = engines.load(spec.path, backend=spec.backend, precision=spec.precision, threads=threads)
    try:
        check_inputs(inputs["images"], inputs["image_sizes"], engine.bounds)
    except InputError as error:
        raise UserError(f"{spec}: {error}") from error
    if isinstance(engine, TorchEngine):
        return _pytorch(engine, inputs, warmup, rounds)
    name, precision = engine.name, engine.precision
    # The file is opened again with its nodes marked; twice may be more than fits into the memory.
    del engine
    if spec.backend == "openvino":
        marked = mark(spec.path, as_openvino_gets_it if "int8" in precision else inlined)
        network = compile_network(marked.model, spec.path, PRECISIONS[precision], threads, profile=True)
        seconds, wall = _openvino(marked, network, inputs, warmup, rounds)
    else:
        marked = mark(spec.path, as_onnxruntime_gets_it if precision == "int8" else inlined)
        seconds, wall = _onnxruntime(marked, inputs, threads, warmup, rounds)
    return OperatorTimes(name, precision, marked.gflop, seconds, wall)


@dataclass(frozen=True)
class _Call:
    operator: str
    module: str
    seconds: float
    flops: int


class _Recorder(TorchDispatchMode):
    """Times every operator that a detector calls, and notes whose parameters it reads."""

    def __init__(self, detector: nn.Module, device: str) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self._modules = {id(value): name.rpartition(".")[0] for name, value in detector.named_parameters()}
        self._wait = torch.cuda.synchronize if device != "cpu" else lambda: None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._wait()
        start = time.perf_counter()
        out = func(*args, **kwargs)
        self._wait()
        seconds = time.perf_counter() - start
        read = (self._modules[id(leaf)] for leaf in tree_leaves((args, kwargs)) if id(leaf) in self._modules)
        packet = func._overloadpacket
        flops = flop_registry[packet](*args, **kwargs, out_val=out) if packet in flop_registry else 0
        self.calls.append(_Call(packet.__name__, next(read, ""), seconds, flops))
        return out


@torch.no_grad()
def _pytorch(engine: TorchEngine, inputs: Inputs, warmup: int, rounds: int) -> OperatorTimes:
    tensors = [torch.from_numpy(inputs[name]) for name in INPUTS]
    seconds, wall = [], []
    for number in range(-warmup, rounds):
        recorder = _Recorder(engine.detector, engine.device)
        start = time.perf_counter()
        with recorder:
            engine.detector(*tensors)
        calls = recorder.calls
        modules = modules_in_order([call.module for call in calls], [call.operator for call in calls])
        parts = [part_of(module, call.operator) for module, call in zip(modules, calls, strict=True)]
        if number >= 0:
            wall.append(time.perf_counter() - start)
            seconds.append(_sums(parts, [call.seconds for call in calls]))
    flops = _sums(parts, [call.flops / 1e9 for call in calls])
    return OperatorTimes(engine.name, engine.precision, flops, seconds, wall)


@dataclass(frozen=True)
class MarkedFile:
    """An exported file whose nodes can be told after a runtime has rearranged them."""

    model: onnx.ModelProto
    """Model with inlined functions, whose nodes, and what they give, are called ``<00000>``, ``<00001>``, …"""
    parts: list[str]
    """Parts of the nodes, in order."""
    gflop: dict[str, float]
    """Billions of operations by part."""

    def add_up(self, names: Sequence[str], seconds: Iterable[float]) -> dict[str, float]:
        """Seconds of each part, of what a runtime's nodes took.

        The first mark in a node's name tells the part. A node without a mark, a change of layout, belongs to the node
        before it.
        """
        parts, part = [], self.parts[0]
        for name in names:
            first = MARK.search(name)
            part = self.parts[int(first[1])] if first else part
            parts.append(part)
        return _sums(parts, seconds)


def mark(path: Path, write: Callable[[onnx.ModelProto, Path], onnx.ModelProto] = inlined) -> MarkedFile:
    """Read an exported file of one size.

    Args:
        path: the file.
        write: the model as an engine's runtime gets it, with all functions inlined. A new node counts as part of the
            node whose output its own is named after, or else of the node behind it.

    Raises:
        UserError: it is not readable, or not of one size.
    """
    costs = count(path)
    model = read_onnx(path, weights=True)
    own = [part_of(cost.module, cost.op) for cost in costs]
    place_of = {output: place for place, node in enumerate(model.graph.node) for output in node.output}
    written = write(model, path)
    parts, place = [], len(own) - 1
    # From behind, where the body of a function begins with what it returns.
    for node in reversed(written.graph.node):
        named_after = (place_of[name] for output in node.output for name in _beginnings(output) if name in place_of)
        place = next(named_after, place)
        parts.append(own[place])
    parts.reverse()
    marked = ir.from_proto(written)
    for index, node in enumerate(marked.graph):
        node.name = f"<{index:05d}>"
        for number, output in enumerate(node.outputs):
            if not output.is_graph_output():
                output.name = f"<{index:05d}>{number}"
    return MarkedFile(ir.to_proto(marked), parts, _sums(own, [cost.flops / 1e9 for cost in costs]))


def as_openvino_gets_it(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An int8 file's model as OpenVINO gets it from its engine."""
    return written_for_openvino(model, path)[0]


def as_onnxruntime_gets_it(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An int8 file's model as ONNX Runtime gets it from its engine, with all functions inlined."""
    write_for_onnxruntime(model)
    return inlined(model, path)


def _beginnings(name: str) -> Iterator[str]:
    """A name, and what is left of it without one, two, … of its last parts behind dots."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _onnxruntime(marked: MarkedFile, inputs: Inputs, threads: int, warmup: int, rounds: int) -> Times:
    options = session_options(threads)
    with TemporaryDirectory() as directory:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(directory) / "profile")
        session = onnxruntime.InferenceSession(
            marked.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(warmup + rounds):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    runs = [event for event in events if event["name"] == "model_run"][warmup:]
    kernels = [event for event in events if event["name"].endswith("_kernel_time")]
    seconds = []
    for run in runs:
        own = [kernel for kernel in kernels if run["ts"] <= kernel["ts"] < run["ts"] + run["dur"]]
        seconds.append(marked.add_up([kernel["name"] for kernel in own], [kernel["dur"] / 1e6 for kernel in own]))
    return seconds, [run["dur"] / 1e6 for run in runs]


def _openvino(marked: MarkedFile, network: Any, inputs: Inputs, warmup: int, rounds: int) -> Times:
    request = network.create_infer_request()
    seconds, wall = [], []
    before = np.zeros(())
    for run in range(1, warmup + rounds + 1):
        start = time.perf_counter()
        run_request(request, inputs)
        elapsed = time.perf_counter() - start
        nodes = request.get_profiling_info()
        # It tells the mean of all runs so far.
        so_far = np.array([run * node.real_time.total_seconds() for node in nodes])
        if run > warmup:
            wall.append(elapsed)
            seconds.append(marked.add_up([node.node_name for node in nodes], so_far - before))
        before = so_far
    return seconds, wall


def _sums(keys: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for key, value in zip(keys, values, strict=True):
        totals[key] = totals.get(key, 0.0) + float(value)
    return totals
