"""TensorRT for deployment machines without PyTorch: NumPy, OpenCV, TensorRT and pycuda are enough.

It works in the device's primary context, which is also PyTorch's, so both may live in one process.

pycuda cannot record a stream's work as a CUDA graph, so every run launches its kernels one by one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pycuda.driver as cuda

from engines.base import Engine
from engines.trt.runtime import Shape, open_engine, require_cuda
from engines.trt.shapes import Prepared, PreparedShapes
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


class PycudaEngine(Engine):
    """An engine file on a CUDA GPU; one batch at a time."""

    def __init__(
        self, path: str | os.PathLike[str], *, precision: str | None = None, device: str = "cuda", trust: bool = False
    ) -> None:
        require_cuda(path, device)
        cuda.init()
        self._primary = cuda.Device(0).retain_primary_context()
        with self._current():
            self._opened = open_engine(path, precision=precision, trust=trust)
            self._stream = cuda.Stream()
        self._shapes = PreparedShapes(self._opened, self._make_buffers, _allocate)
        metadata = self._opened.metadata
        super().__init__(
            name="TensorRT (pycuda)",
            config=metadata.config,
            precision=metadata.precision,
            device=device,
            bounds=TunedBounds.of(metadata.bounds),
            path=path,
        )

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> Prepared[Buffers]:
        with self._current():
            prepared = self._shapes[images.shape]
            host, device = prepared.buffers
            for name, array in zip(INPUTS, (images, image_sizes), strict=True):
                host[name][...] = array
                cuda.memcpy_htod_async(device[name], host[name], self._stream)
            self._stream.synchronize()
        return prepared

    def run(self, inputs: Prepared[Buffers]) -> Prepared[Buffers]:
        with self._current():
            self._shapes.bind(inputs)
            self._opened.require(inputs.context.execute_async_v3(self._stream.handle), "the execution failed")
            self._stream.synchronize()
        return inputs

    def download(self, outputs: Prepared[Buffers]) -> Detections:
        host, device = outputs.buffers
        with self._current():
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
    def _current(self) -> Iterator[None]:
        self._primary.push()
        try:
            yield
        finally:
            cuda.Context.pop()


def _allocate(size: int) -> tuple[cuda.DeviceAllocation, int]:
    """Bytes of the device's memory, at least one, and their address."""
    memory = cuda.mem_alloc(max(size, 1))
    return memory, int(memory)
