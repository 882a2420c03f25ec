"""TensorRT for deployment machines without PyTorch: NumPy, OpenCV, TensorRT and pycuda are enough.

It works in the device's primary context, which is also PyTorch's, so both may live in one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pycuda.driver as cuda
from pycuda.gpuarray import GPUArray

from engines.base import Engine
from engines.trt.runtime import Shape, open_engine, require_cuda
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.files import UserError
from refinemask.structures import Detections


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
            self._context = self._opened.create_context()
            self._stream = cuda.Stream()
        self._shape: Shape = ()
        self._inputs: dict[str, GPUArray] = {}
        self._outputs: dict[str, GPUArray] = {}
        metadata = self._opened.metadata
        super().__init__(
            name="TensorRT (pycuda)",
            config=metadata.config,
            precision=metadata.precision,
            device=device,
            bounds=metadata.bounds,
            path=path,
        )

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> dict[str, GPUArray]:
        with self._current():
            self._prepare(images.shape)
            for name, array in zip(INPUTS, (images, image_sizes), strict=True):
                self._inputs[name].set(array)
        return self._inputs

    def run(self, inputs: dict[str, GPUArray]) -> dict[str, GPUArray]:
        with self._current():
            for name, array in {**inputs, **self._outputs}.items():
                address = int(array.gpudata)
                self._opened.require(self._context.set_tensor_address(name, address), f"refuses the address of {name}")
            self._opened.require(self._context.execute_async_v3(self._stream.handle), "the execution failed")
            self._stream.synchronize()
        return self._outputs

    def download(self, outputs: dict[str, GPUArray]) -> Detections:
        with self._current():
            return Detections(*(outputs[name].get() for name in OUTPUTS))

    def _prepare(self, shape: Shape) -> None:
        """Make the buffers, if the images have another shape than before."""
        if shape == self._shape:
            return
        # If TensorRT refuses halfway, the buffers do not fit the context, so no shape may count as prepared.
        self._shape = ()
        inputs, outputs = self._opened.set_shapes(self._context, shape)
        if any(-1 in sizes for sizes in outputs.values()):
            raise UserError(f"{self._opened.path}: its output shapes depend on the data; build it with plugins")
        self._inputs, self._outputs = (
            {name: GPUArray(sizes, self._opened.dtype(name)) for name, sizes in group.items()}
            for group in (inputs, outputs)
        )
        self._shape = shape

    @contextmanager
    def _current(self) -> Iterator[None]:
        self._primary.push()
        try:
            yield
        finally:
            cuda.Context.pop()
