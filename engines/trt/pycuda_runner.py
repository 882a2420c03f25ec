"""TensorRT for deployment machines without PyTorch: NumPy, OpenCV, TensorRT and pycuda are enough.

It works in the device's primary context, which is also PyTorch's, so both may live in one process.

pycuda cannot record a stream's work as a CUDA graph, so every run launches its kernels one by one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pycuda.driver as cuda

from engines.slots import SlottedEngine
from engines.trt.runtime import OpenEngine, Shape, open_engine, require_cuda
from engines.trt.shapes import PreparedShapes
from engines.trt.tuned_bounds import TunedBounds
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.files import UserError
from refinemask.structures import Detections


class Buffers(NamedTuple):
    """Inputs and outputs of one shape."""

    host: dict[str, np.ndarray]
    """In page-locked memory, by name."""
    device: dict[str, cuda.DeviceAllocation]
    """On the device, by name."""


class PycudaEngine(SlottedEngine):
    """An engine file on a CUDA GPU, in one slot: one batch at a time."""

    def __init__(
        self, path: str | os.PathLike[str], *, precision: str | None = None, device: str = "cuda", trust: bool = False
    ) -> None:
        require_cuda(path, device)
        cuda.init()
        primary = cuda.Device(0).retain_primary_context()
        with _current(primary):
            opened = open_engine(path, precision=precision, trust=trust)
        metadata = opened.metadata
        super().__init__(
            partial(Slot, opened, primary),
            1,
            name="TensorRT (pycuda)",
            config=metadata.config,
            precision=metadata.precision,
            device=device,
            bounds=TunedBounds.of(metadata.bounds),
            path=path,
        )


class Slot:
    """A stream, and what is prepared for the input shapes last seen."""

    def __init__(self, opened: OpenEngine, primary: Any) -> None:
        self._opened = opened
        self._primary = primary
        self.shapes = PreparedShapes(opened, self._make_buffers, _allocate)
        with _current(primary):
            self._stream = cuda.Stream()

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        """Copy the inputs to the device."""
        with _current(self._primary):
            self._prepared = self.shapes[images.shape]
            host, device = self._prepared.buffers
            for name, array in zip(INPUTS, (images, image_sizes), strict=True):
                host[name][...] = array
                cuda.memcpy_htod_async(device[name], host[name], self._stream)
            self._stream.synchronize()

    def run(self) -> None:
        """Compute the outputs of the inputs uploaded last."""
        with _current(self._primary):
            self.shapes.bind(self._prepared)
            succeeded = self._prepared.context.execute_async_v3(self._stream.handle)
            self._opened.require(succeeded, "the execution failed")
            self._stream.synchronize()

    def download(self) -> Detections:
        """The detections as NumPy arrays."""
        host, device = self._prepared.buffers
        with _current(self._primary):
            for name in OUTPUTS:
                cuda.memcpy_dtoh_async(host[name], device[name], self._stream)
            self._stream.synchronize()
        # The next batch of this shape comes to the same memory.
        return Detections(*(host[name].copy() for name in OUTPUTS))

    def _make_buffers(self, context: Any, inputs: dict[str, Shape], outputs: dict[str, Shape]) -> Buffers:
        if any(-1 in sizes for sizes in outputs.values()):
            raise UserError(f"{self._opened.path}: its output shapes depend on the data; build it with plugins")
        shapes = {**inputs, **outputs}
        host = {name: cuda.pagelocked_empty(sizes, self._opened.dtype(name)) for name, sizes in shapes.items()}
        device = {name: cuda.mem_alloc(array.nbytes) for name, array in host.items()}
        for name, memory in device.items():
            accepted = context.set_tensor_address(name, int(memory))
            self._opened.require(accepted, f"refuses the address of {name}")
        return Buffers(host, device)


@contextmanager
def _current(context: Any) -> Iterator[None]:
    """Make a context the thread's own while this is open."""
    context.push()
    try:
        yield
    finally:
        cuda.Context.pop()


def _allocate(size: int) -> tuple[cuda.DeviceAllocation, int]:
    """Bytes of the device's memory, at least one, and their address."""
    memory = cuda.mem_alloc(max(size, 1))
    return memory, int(memory)
