"""TensorRT with PyTorch's buffers and stream."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch

from engines import on_device
from engines.slots import SlottedEngine
from engines.trt.runtime import OpenEngine, Shape, open_engine, require_cuda
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.files import UserError
from refinemask.structures import Detections, ImageDetections

CACHED_SHAPES = 4
"""Number of input shapes that keep context, buffers and CUDA graph, in each slot."""

_recording = Lock()


class TensorRTEngine(SlottedEngine):
    """An engine file on a CUDA GPU; each slot has a stream of its own."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        device: str = "cuda",
        slots: int = 1,
        cuda_graph: bool = True,
        trust: bool = False,
    ) -> None:
        """Open an engine file.

        Args:
            path: the engine file.
            precision: the precision that the engine must have been built in; None takes any.
            device: ``cuda``.
            slots: how many batches may be computed at the same time.
            cuda_graph: record the work for each input shape once, and replay it: one launch instead of hundreds.
            trust: load a file that has no sidecar.

        Raises:
            UserError: the file cannot be loaded, or PyTorch sees no GPU.
        """
        require_cuda(path, device)
        if not torch.cuda.is_available():
            raise UserError(f"{path}: PyTorch sees no GPU; without PyTorch: backend pycuda")
        opened = open_engine(path, precision=precision, trust=trust)
        metadata = opened.metadata
        super().__init__(
            partial(Slot, opened, cuda_graph),
            slots,
            name="TensorRT",
            config=metadata.config,
            precision=metadata.precision,
            device=device,
            bounds=metadata.bounds,
            path=path,
        )


class Slot:
    """A stream, and the prepared runs of the input shapes last seen."""

    def __init__(self, opened: OpenEngine, cuda_graph: bool) -> None:
        self.opened = opened
        self.cuda_graph = cuda_graph
        self.stream = torch.cuda.Stream()
        self.prepared: OrderedDict[Shape, Prepared] = OrderedDict()
        self.current: Prepared | None = None

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        """Copy the inputs to the device."""
        self.current = prepared = self._prepare(images.shape)
        for name, array in zip(INPUTS, (images, image_sizes), strict=True):
            prepared.staging[name].numpy()[...] = array
            with torch.cuda.stream(self.stream):
                prepared.inputs[name].copy_(prepared.staging[name], non_blocking=True)
        self.stream.synchronize()

    def run(self) -> None:
        """Compute the outputs of the inputs uploaded last."""
        assert self.current is not None
        with torch.cuda.stream(self.stream):
            if self.current.graph is not None:
                self.current.graph.replay()
            else:
                self._execute(self.current)
        self.stream.synchronize()

    def download(self) -> Detections:
        """The detections as NumPy arrays."""
        with torch.cuda.stream(self.stream):
            return on_device.download(self._detections())

    def encode(self, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]) -> list[ImageDetections]:
        """The detections of each image, its masks pasted on the GPU; see :meth:`engines.base.Engine.encode`."""
        with torch.cuda.stream(self.stream):
            return on_device.encode(self._detections(), scale_factors, image_shapes)

    def _detections(self) -> Detections:
        """The outputs on the device, overwritten by the next run."""
        assert self.current is not None
        return Detections(*map(self.current.output, OUTPUTS))

    def _execute(self, prepared: "Prepared") -> None:
        succeeded = prepared.context.execute_async_v3(self.stream.cuda_stream)
        self.opened.require(succeeded, "the execution failed")

    def _prepare(self, shape: Shape) -> "Prepared":
        if shape in self.prepared:
            self.prepared.move_to_end(shape)
            return self.prepared[shape]
        while len(self.prepared) >= CACHED_SHAPES:
            self.prepared.popitem(last=False)
        # On this stream, or the zeros of the inputs may arrive after the first upload.
        with torch.cuda.stream(self.stream):
            prepared = prepare(self.opened, shape)
        # An allocator's memory moves between calls, and a recording would not follow it.
        if self.cuda_graph and not prepared.allocators:
            prepared = self._record(prepared)
        self.prepared[shape] = prepared
        return prepared

    def _record(self, prepared: "Prepared") -> "Prepared":
        # A context does its lazy initialisation in the first call, which must not be recorded.
        with torch.cuda.stream(self.stream):
            self._execute(prepared)
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Threads of other slots may allocate meanwhile, which a global recording would forbid. They must not begin a
        # recording of their own, which would wait for the whole device.
        with _recording, torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            self._execute(prepared)
        return prepared._replace(graph=graph)


class Prepared(NamedTuple):
    """All that one input shape needs to run. Each has its own context, because a recorded graph is bound to one."""

    context: Any
    """TensorRT's execution context."""
    staging: dict[str, torch.Tensor]
    """Inputs in page-locked host memory."""
    inputs: dict[str, torch.Tensor]
    """Inputs on the device."""
    outputs: dict[str, torch.Tensor]
    """Outputs of fixed shape on the device."""
    allocators: dict[str, Any]
    """Allocators of the outputs whose shape depends on the data."""
    graph: torch.cuda.CUDAGraph | None = None
    """The recorded run; None if it is not recorded."""

    def output(self, name: str) -> torch.Tensor:
        """An output on the device."""
        return self.allocators[name].tensor() if name in self.allocators else self.outputs[name]


def prepare(opened: OpenEngine, shape: Shape) -> Prepared:
    """Make context and buffers for images of ``shape`` [B, 3, H, W].

    Raises:
        UserError: TensorRT refuses, or memory runs out.
    """
    context = opened.create_context()
    input_shapes, output_shapes = opened.set_shapes(context, shape)
    # Zeros, because a recording runs the engine before the first upload.
    inputs = {
        name: torch.zeros(sizes, dtype=_dtype(opened, name), device="cuda") for name, sizes in input_shapes.items()
    }
    staging = {name: torch.empty_like(tensor, device="cpu").pin_memory() for name, tensor in inputs.items()}
    outputs, allocators = {}, {}
    for name, sizes in output_shapes.items():
        if -1 in sizes:
            allocators[name] = make_allocator(opened.trt, _dtype(opened, name))
            opened.require(context.set_output_allocator(name, allocators[name]), f"refuses an allocator for {name}")
        else:
            outputs[name] = torch.empty(sizes, dtype=_dtype(opened, name), device="cuda")
    for name, tensor in {**inputs, **outputs}.items():
        opened.require(context.set_tensor_address(name, tensor.data_ptr()), f"refuses the address of {name}")
    return Prepared(context, staging, inputs, outputs, allocators)


def make_allocator(trt: Any, dtype: torch.dtype) -> Any:
    """An output allocator whose memory is PyTorch's."""

    class Allocator(trt.IOutputAllocator):
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.memory = torch.empty(0, dtype=torch.uint8, device="cuda")
            self.shape: Shape = ()

        def reallocate_output_async(self, name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            if self.memory.numel() < size:
                self.memory = torch.empty(size, dtype=torch.uint8, device="cuda")
            return self.memory.data_ptr()

        def notify_shape(self, name: str, shape: Any) -> None:
            self.shape = tuple(shape)

        def tensor(self) -> torch.Tensor:
            count = int(np.prod(self.shape)) * dtype.itemsize
            return self.memory[:count].view(dtype).view(self.shape)

    return Allocator()


def _dtype(opened: OpenEngine, name: str) -> torch.dtype:
    return torch.from_numpy(np.empty(0, opened.dtype(name))).dtype
