"""The execution contexts of the input shapes last seen, which all compute in one memory. Imports no PyTorch."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from engines.trt.runtime import OpenEngine, Shape
from refinemask.foreign import foreign_errors

CACHED_SHAPES = 4
"""Number of input shapes that keep context, buffers and CUDA graph."""

Buffers = TypeVar("Buffers")
MakeBuffers = Callable[[Any, dict[str, Shape], dict[str, Shape]], Buffers]
"""Makes the buffers of a context for inputs and outputs of these shapes, and tells it their addresses."""


@dataclass(eq=False)
class Prepared(Generic[Buffers]):
    """All that one input shape needs to run. Each has its own context, because a recorded graph is bound to one."""

    images: Shape
    """[B, 3, H, W], the shape of the images."""
    context: Any
    """TensorRT's execution context."""
    buffers: Buffers
    """Inputs and outputs, on the device and on the host."""
    memory_size: int
    """Bytes of the memory that the context computes in."""
    memory: tuple[int, int] | None = None
    """Address and size in bytes of the memory that the context was given."""
    has_run: bool = False
    """Whether it has run in this memory: a context does work in its first run that must not be recorded."""
    graph: Any = None
    """The run, recorded in this memory; None if it is not recorded."""


class PreparedShapes(Generic[Buffers]):
    """What is prepared for the shapes last seen. Their contexts never run at the same time, and so share a memory."""

    def __init__(
        self, opened: OpenEngine, make_buffers: MakeBuffers[Buffers], allocate: Callable[[int], tuple[Any, int]]
    ) -> None:
        """Prepare nothing yet.

        Args:
            opened: the engine.
            make_buffers: makes the buffers of a new context.
            allocate: takes bytes of the device's memory, aligned to 256: what owns them, and their address.
        """
        self._opened = opened
        self._make_buffers = make_buffers
        self._allocate = allocate
        self._prepared: OrderedDict[Shape, Prepared[Buffers]] = OrderedDict()
        self._owner: Any = None
        self._memory: tuple[int, int] | None = None

    def __getitem__(self, images: Shape) -> Prepared[Buffers]:
        """What images of shape [B, 3, H, W] need.

        Raises:
            UserError: TensorRT refuses the shape, or memory runs out.
        """
        if images in self._prepared:
            self._prepared.move_to_end(images)
            return self._prepared[images]
        while len(self._prepared) >= CACHED_SHAPES:
            self._prepared.popitem(last=False)
        context = self._opened.create_context()
        shapes = self._opened.set_shapes(context, images)
        size = context.update_device_memory_size_for_shapes()
        with foreign_errors(f"{self._opened.path}: no memory for images of shape {list(images)}"):
            buffers = self._make_buffers(context, *shapes)
        self._prepared[images] = prepared = Prepared(images, context, buffers, size)
        return prepared

    def bind(self, prepared: Prepared[Buffers]) -> None:
        """Let a context compute in the memory, which grows if it is too small; then recordings are void.

        Raises:
            UserError: memory runs out.
        """
        if self._memory is None or self._memory[1] < prepared.memory_size:
            # Without the old one, for there may be no room for both.
            self._owner = self._memory = None
            size, images = prepared.memory_size, list(prepared.images)
            with foreign_errors(f"{self._opened.path}: no {size} bytes of memory to compute images {images} in"):
                self._owner, address = self._allocate(size)
            self._memory = address, size
        if prepared.memory != self._memory:
            prepared.context.set_device_memory(*self._memory)
            prepared.memory, prepared.has_run, prepared.graph = self._memory, False, None
