"""Who runs a network: engines of this project in every precision, and the exported graph in PyTorch's hands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import engines
from benchmarks.gpu_suite import engine_files
from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.exported_graph import compiled_graph, exported_graph, on_device
from benchmarks.gpu_suite.opened import Opened, OpenedDetector, OpenedEngine, OpenedGraph
from benchmarks.gpu_suite.subjects import Family, Subject
from engines.torch_engine import TorchEngine
from refinemask.data.transforms import NetworkInput
from refinemask.modeling.exported import Precision


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network and the batch it is run on, for those who open it."""

    context: Context
    subject: Subject
    batch: NetworkInput
    graphs: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Graphs that PyTorch has compiled, by precision: their compilation takes too long to be repeated."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to run a network."""

    name: str
    """Name in reports: the way, and the precision."""
    open: Callable[[Entry], Opened]
    """Function that makes it ready; it raises ``NotRunError`` or ``UserError`` for what is impossible here."""


def compiled(precision: str) -> Contender:
    """The engine that is compiled ahead of time."""

    def open_file(entry: Entry) -> Opened:
        batch = len(entry.batch.images)
        return OpenedEngine(engine_files.load_compiled(entry.context, entry.subject.checkpoint, precision, batch))

    return Contender(name=f"compiled {precision}", open=open_file)


def eager(precision: str) -> Contender:
    """Eager PyTorch with torchvision's operators."""

    def open_checkpoint(entry: Entry) -> Opened:
        device, checkpoint = entry.context.device, entry.subject.checkpoint
        engine = engines.load(checkpoint, device=device, precision=precision, kernels=False)
        return OpenedDetector(cast(TorchEngine, engine))

    return Contender(name=f"eager {precision}", open=open_checkpoint)


def torch_compile(precision: Precision, *, record: bool) -> Contender:
    """The exported graph through ``torch.compile`` with our kernels, launched or recorded as a CUDA graph."""

    def open_graph(entry: Entry) -> Opened:
        if not engine_files.compiles(entry.context):
            raise NotRunError("torch.compile takes a minute: where sizes are tiny, only with --part")
        _enable(entry.context, record)
        if precision not in entry.graphs:
            inputs = on_device(entry.batch, entry.context.device)
            entry.graphs[precision] = compiled_graph(entry.subject.checkpoint, precision, entry.context.device, inputs)
        return OpenedGraph(entry.graphs[precision], entry.context.device, record)

    return Contender(name=f"torch.compile {precision}{RECORDED if record else ''}", open=open_graph)


def exported(precision: Precision, *, record: bool) -> Contender:
    """The exported graph with our kernels, launched operator by operator or recorded as a CUDA graph."""

    def open_graph(entry: Entry) -> Opened:
        _enable(entry.context, record)
        inputs = on_device(entry.batch, entry.context.device)
        graph = exported_graph(entry.subject.checkpoint, precision, entry.context.device, inputs)
        return OpenedGraph(graph, entry.context.device, record)

    return Contender(name=f"exported graph {precision}{RECORDED if record else ''}", open=open_graph)


def onnxruntime(precision: Precision) -> Contender:
    """ONNX Runtime with its CUDA provider."""
    return Contender(
        name=f"ONNX Runtime {precision}",
        open=lambda entry: OpenedEngine(
            engine_files.load_onnxruntime(entry.context, entry.subject.checkpoint, precision)
        ),
    )


def tensorrt(precision: Precision) -> Contender:
    """TensorRT with our plugins."""
    return Contender(
        name=f"TensorRT {precision}",
        open=lambda entry: OpenedEngine(engine_files.load_tensorrt(entry.context, entry.subject.checkpoint, precision)),
    )


RECORDED = ", CUDA graph"
"""End of the names of what is recorded as one CUDA graph."""


def _enable(context: Context, record: bool) -> None:
    """Let the operators run our kernels on a GPU; eager engines switch them off while they run."""
    from trt_plugins import torch_ops

    if context.cuda:
        torch_ops.enable(context.kernels().kernels)
    elif record:
        raise NotRunError("a CPU has no CUDA graphs")


@dataclass(frozen=True, kw_only=True)
class Race:
    """Contenders that take turns on the same batches."""

    family: Family
    batch: int
    few: bool
    """Whether the image with few detections is run, too."""
    seconds: float
    """Longest time of the rounds on each image."""
    contenders: tuple[Contender, ...]


def races(context: Context) -> tuple[Race, ...]:
    """What is run against what, the most important first."""
    if not context.cuda:
        single = (eager("fp32"), compiled("fp32"), eager("bf16"), torch_compile("bf16", record=False))
        return (
            Race(
                family="refinemask", batch=1, few=True, seconds=5, contenders=(*single, exported("fp32", record=False))
            ),
            Race(family="refinemask", batch=2, few=False, seconds=5, contenders=(eager("fp32"), eager("bf16"))),
            Race(family="mask-rcnn", batch=1, few=False, seconds=5, contenders=(eager("fp32"),)),
        )
    main = (eager("fp32"), compiled("fp16"), eager("tf32"), eager("fp16"))
    graphs = (torch_compile("fp16", record=True), exported("fp16", record=True))
    others = (onnxruntime("fp32"), onnxruntime("fp16"), tensorrt("fp16"))
    peer = (eager("fp32"), compiled("fp16"), eager("fp16"))
    return (
        Race(family="refinemask", batch=1, few=True, seconds=15, contenders=(*main, *graphs, *others)),
        Race(family="refinemask", batch=8, few=False, seconds=12, contenders=main),
        Race(family="mask-rcnn", batch=1, few=False, seconds=8, contenders=peer),
    )
