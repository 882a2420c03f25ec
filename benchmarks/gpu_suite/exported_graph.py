"""The exported graph as PyTorch runs it: launched operator by operator, compiled, or recorded as one CUDA graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from engines.compiled.child import CORES_PER_CHILD
from engines.compiled.trace import trace
from refinemask.data.transforms import NetworkInput
from refinemask.modeling.exported import DTYPES, ExportedDetector, Precision
from refinemask.weights import load_detector

WARM_UPS = 3
Inputs = tuple[Tensor, Tensor]
"""Images and their sizes."""


def exported_graph(checkpoint: Path, precision: Precision, device: str, inputs: Inputs) -> fx.GraphModule:
    """The graph that ONNX files come from, with its weights on the device, for inputs of these shapes."""
    module = ExportedDetector(load_detector(checkpoint), DTYPES[precision]).to(device)
    if precision != "fp32":
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        return trace(module, inputs)


def compiled_graph(checkpoint: Path, precision: Precision, device: str, inputs: Inputs) -> Any:
    """:func:`exported_graph` through ``torch.compile``, in one piece."""
    return torch.compile(exported_graph(checkpoint, precision, device, inputs), fullgraph=True)


def warm_compiler_cache(checkpoint: Path, precision: Precision, device: str, batch: NetworkInput) -> None:
    """Compile as a later process will, which then finds the code in the compiler's cache on disk."""
    from torch._inductor import config

    inputs = on_device(batch, device)
    # More compilers would take the processors from the other jobs.
    with torch.no_grad(), config.patch(compile_threads=CORES_PER_CHILD):
        compiled_graph(checkpoint, precision, device, inputs)(*inputs)


def on_device(batch: NetworkInput, device: str) -> Inputs:
    """Images and their sizes as tensors on the device."""
    return torch.from_numpy(batch.images).to(device), torch.from_numpy(batch.image_sizes).to(device)


def recorded(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """A call as one CUDA graph: what replays it, and its outputs, which every replay writes anew."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run()
    return graph.replay, outputs
