"""TensorRT with PyTorch's buffers and stream."""

import os
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch

from engines import on_device
from engines.slots import SlottedEngine
from engines.trt.runtime import OpenEngine, Shape, open_engine, require_cuda
from engines.trt.shapes import Prepared, PreparedShapes
from engines.trt.tuned_bounds import TunedBounds
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.files import UserError
from refinemask.structures import Detections, ImageDetections

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
            cuda_graph: record the work for each input shape the second time that it is seen, and replay it from then
                on: one launch instead of hundreds.
            trust: load a file that has no sidecar.

        Raises:
            UserError: the file cannot be loaded, or PyTorch sees no GPU.
        """
        require_cuda(path, device)
        if not torch.cuda.is_available():
            raise UserError(
                f"{path}: PyTorch sees no GPU, which a TensorRT engine needs; check nvidia-smi and torch.version.cuda, "
                "or take the backend pycuda, which needs no PyTorch"
            )
        opened = open_engine(path, precision=precision, trust=trust)
        metadata = opened.metadata
        super().__init__(
            partial(Slot, opened, cuda_graph),
            slots,
            name="TensorRT",
            config=metadata.config,
            precision=metadata.precision,
            device=device,
            bounds=TunedBounds.of(metadata.bounds),
            path=path,
        )


class Slot:
    """A stream, and what is prepared for the input shapes last seen."""

    def __init__(self, opened: OpenEngine, cuda_graph: bool) -> None:
        self.opened = opened
        self.cuda_graph = cuda_graph
        self.stream = torch.cuda.Stream()
        self.shapes = PreparedShapes(opened, partial(make_buffers, opened), _allocate)
        self.current: Prepared[Buffers] | None = None

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        """Copy the inputs to the device."""
        with torch.cuda.stream(self.stream):
            self.current = self.shapes[images.shape]
            buffers = self.current.buffers
            for name, array in zip(INPUTS, (images, image_sizes), strict=True):
                buffers.staging[name].numpy()[...] = array
                buffers.inputs[name].copy_(buffers.staging[name], non_blocking=True)
        self.stream.synchronize()

    def run(self) -> None:
        """Compute the outputs of the inputs uploaded last; from a shape's second use on by replaying a recording."""
        assert self.current is not None
        prepared = self.current
        with torch.cuda.stream(self.stream):
            self.shapes.bind(prepared)
            if prepared.graph is None and prepared.has_run and self._can_record(prepared):
                prepared.graph = self._record(prepared)
            if prepared.graph is not None:
                prepared.graph.replay()
            else:
                self._execute(prepared)
        prepared.has_run = True
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
        return Detections(*map(self.current.buffers.output, OUTPUTS))

    def _execute(self, prepared: Prepared["Buffers"]) -> None:
        succeeded = prepared.context.execute_async_v3(self.stream.cuda_stream)
        self.opened.require(succeeded, "the execution failed")

    def _can_record(self, prepared: Prepared["Buffers"]) -> bool:
        # An allocator's memory moves between calls, and a recording would not follow it.
        if not self.cuda_graph or prepared.buffers.allocators:
            return False
        # TensorRT-RTX allocates in some engines' runs, and knows whether it would.
        capturable = getattr(prepared.context, "is_stream_capturable", None)
        return capturable is None or capturable(self.stream.cuda_stream)

    def _record(self, prepared: Prepared["Buffers"]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # Threads of other slots may allocate meanwhile, which a global recording would forbid. They must not begin a
        # recording of their own, which would wait for the whole device.
        with _recording, torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            self._execute(prepared)
        return graph


class Buffers(NamedTuple):
    """Inputs and outputs of one shape."""

    staging: dict[str, torch.Tensor]
    """Inputs in page-locked host memory."""
    inputs: dict[str, torch.Tensor]
    """Inputs on the device."""
    outputs: dict[str, torch.Tensor]
    """Outputs of fixed shape on the device."""
    allocators: dict[str, Any]
    """Allocators of the outputs whose shape depends on the data."""

    def output(self, name: str) -> torch.Tensor:
        """An output on the device."""
        return self.allocators[name].tensor() if name in self.allocators else self.outputs[name]


def make_buffers(
    opened: OpenEngine, context: Any, input_shapes: dict[str, Shape], output_shapes: dict[str, Shape]
) -> Buffers:
    """Make buffers on PyTorch's current stream, and tell a context their addresses.

    Raises:
        UserError: TensorRT refuses.
    """
    inputs = {
        name: torch.empty(sizes, dtype=_dtype(opened, name), device="cuda") for name, sizes in input_shapes.items()
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
    return Buffers(staging, inputs, outputs, allocators)


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


def _allocate(size: int) -> tuple[torch.Tensor, int]:
    """Bytes of the device's memory on PyTorch's current stream, and their address."""
    memory = torch.empty(size, dtype=torch.uint8, device="cuda")
    return memory, memory.data_ptr()
