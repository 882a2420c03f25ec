"""TensorRT for deployment machines without PyTorch: NumPy, OpenCV, TensorRT and pycuda are enough.

It works in the device's primary context, which is also PyTorch's, so both may live in one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pycuda.driver as cuda
from pycuda.gpuarray import GPUArray

from engines.base import Engine
from engines.trt.runtime import Shape, open_engine
from refinemask.contract import OUTPUTS, InputError
from refinemask.files import UserError
from refinemask.structures import Detections


class PycudaEngine(Engine):
    """An engine file on a CUDA GPU; one batch at a time."""

    def __init__(
        self, path: str | os.PathLike[str], *, precision: str | None = None, device: str = "cuda", trust: bool = False
    ) -> None:
        if device != "cuda":
            raise UserError(f"{path}: TensorRT runs on cuda, not on {device}; use --device cuda")
        cuda.init()
        self._primary = cuda.Device(0).retain_primary_context()
        with self._current():
            self._opened = open_engine(path, trust=trust)
            self._context = self._opened.create_context()
            self._stream = cuda.Stream()
        self._shape: Shape = ()
        self._inputs: dict[str, GPUArray] = {}
        self._outputs: dict[str, GPUArray] = {}
        metadata = self._opened.metadata
        if precision not in (None, metadata.precision):
            raise UserError(f"{path}: it was built in {metadata.precision}, not {precision}; export and build again")
        super().__init__(
            name="TensorRT (pycuda)",
            config=metadata.config,
            precision=metadata.precision,
            device=device,
            bounds=metadata.bounds,
        )

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> dict[str, int]:
        with self._current():
            self._prepare(images.shape)
            for name, array in (("images", images), ("image_sizes", image_sizes)):
                self._inputs[name].set(array)
        return {name: int(array.gpudata) for name, array in self._inputs.items()}

    def run(self, inputs: dict[str, int]) -> dict[str, GPUArray]:
        addresses = {**inputs, **{name: int(array.gpudata) for name, array in self._outputs.items()}}
        with self._current():
            for name, address in addresses.items():
                self._opened.require(self._context.set_tensor_address(name, address), f"refuses the address of {name}")
            self._opened.require(self._context.execute_async_v3(self._stream.handle), "the execution failed")
            self._stream.synchronize()
        return self._outputs

    def download(self, outputs: dict[str, GPUArray]) -> Detections:
        with self._current():
            return Detections(*(outputs[name].get() for name in OUTPUTS))

    def infer_on_device(self, images: Any, image_sizes: Any) -> Detections:
        """Detect objects in images that are on the GPU already; nothing is copied.

        Args:
            images: uint8 [B, 3, H, W], contiguous.
            image_sizes: int64 [B, 2], contiguous.
                Both have the ``__cuda_array_interface__``, as the arrays of PyTorch, CuPy and pycuda do.

        Returns:
            Detections whose fields have the ``__cuda_array_interface__`` too; valid until the next call.

        Raises:
            InputError: an input has the wrong type, layout or size.
        """
        images_at, shape = _address("images", images, "|u1", 4)
        sizes_at, sizes_shape = _address("image_sizes", image_sizes, "<i8", 2)
        if shape[1] != 3 or sizes_shape != (shape[0], 2):
            raise InputError(
                f"images are {list(shape)}, image_sizes {list(sizes_shape)}; expected [B, 3, H, W], [B, 2]"
            )
        if self.bounds is not None:
            self.bounds.check(shape)
        with self._current():
            # The producer of the inputs may still be at work on a stream of its own.
            cuda.Context.synchronize()
            self._prepare(shape)
        outputs = self.run({"images": images_at, "image_sizes": sizes_at})
        return Detections(*(outputs[name] for name in OUTPUTS))

    def _prepare(self, shape: Shape) -> None:
        """Make the buffers for images of another shape than before."""
        if shape == self._shape:
            return
        shapes = {"images": shape, "image_sizes": (shape[0], 2)}
        outputs = self._opened.set_shapes(self._context, shapes)
        if any(-1 in sizes for sizes in outputs.values()):
            raise UserError(f"{self._opened.path}: its output shapes depend on the data; build it with plugins")
        self._inputs, self._outputs = (
            {name: GPUArray(sizes, self._dtype(name)) for name, sizes in group.items()} for group in (shapes, outputs)
        )
        self._shape = shape

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype(self._opened.trt.nptype(self._opened.engine.get_tensor_dtype(name)))

    @contextmanager
    def _current(self) -> Iterator[None]:
        self._primary.push()
        try:
            yield
        finally:
            cuda.Context.pop()


def _address(name: str, array: Any, typestr: str, dimensions: int) -> tuple[int, Shape]:
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        raise InputError(f"{name} is a {type(array).__name__}; expected an array with __cuda_array_interface__")
    shape, strides = tuple(interface["shape"]), interface.get("strides")
    itemsize = np.dtype(typestr).itemsize
    contiguous = tuple(itemsize * int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    if interface["typestr"] != typestr or len(shape) != dimensions or strides not in (None, contiguous):
        raise InputError(
            f"{name} is {interface['typestr']} {list(shape)} with strides {strides}; expected contiguous {typestr} "
            f"of {dimensions} dimensions"
        )
    return interface["data"][0], shape
