"""Networks that are ready to run, whatever runs them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Protocol

import torch

from benchmarks.gpu_suite.exported_graph import on_device, recorded
from engines.base import Engine, check_inputs
from engines.torch_engine import TorchEngine
from refinemask.data.transforms import NetworkInput
from refinemask.structures import Detections


class Opened(Protocol):
    """A network that is ready to run."""

    waits: bool
    """Whether :meth:`run` waits for the device, so that the time until it returns says nothing of the host's work."""
    allocates_itself: bool
    """Whether memory of the device is taken beside PyTorch's allocator."""

    def upload(self, batch: NetworkInput) -> None:
        """Bring the batch that the following runs compute to the device."""

    def run(self) -> object:
        """Compute the batch once, or enqueue the work."""

    def turn(self) -> AbstractContextManager[object]:
        """Settings that hold while :meth:`run` is called."""

    def detections(self) -> Detections:
        """The batch's detections as NumPy arrays."""


class OpenedEngine:
    """An engine of :func:`engines.load`."""

    waits = True
    allocates_itself = True

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._batch: NetworkInput | None = None

    def upload(self, batch: NetworkInput) -> None:
        if self._batch is not None:
            # Some engines lend a slot until the download.
            self._download()
        self._batch = batch
        self._inputs = self.engine.upload(*check_inputs(batch.images, batch.image_sizes, self.engine.bounds))

    def run(self) -> object:
        return self.engine.run(self._inputs)

    def turn(self) -> AbstractContextManager[object]:
        return nullcontext()

    def detections(self) -> Detections:
        assert self._batch is not None, "nothing was uploaded"
        found = self._download()
        self._inputs = self.engine.upload(*check_inputs(*self._batch[:2], self.engine.bounds))
        return found

    def _download(self) -> Detections:
        return self.engine.download(self.engine.run(self._inputs))


class OpenedDetector:
    """Eager PyTorch, without the engine's waiting for the device at the end."""

    # The detector itself waits while it chooses proposals and detections.
    waits = True
    allocates_itself = False

    def __init__(self, engine: TorchEngine) -> None:
        self.engine = engine

    def upload(self, batch: NetworkInput) -> None:
        self._inputs = on_device(batch, self.engine.device)

    def run(self) -> Detections:
        return self.engine.detector(*self._inputs)

    def turn(self) -> AbstractContextManager[object]:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        stack.enter_context(self.engine.arithmetic())
        return stack

    def detections(self) -> Detections:
        with self.turn():
            return self.run().numpy()


class OpenedGraph:
    """The exported graph, launched or recorded; its shapes are those of the first batch."""

    waits = False
    allocates_itself = False

    def __init__(self, graph: Callable[..., Any], device: str, record: bool) -> None:
        self._graph = graph
        self._device = device
        self._record = record
        self._inputs: tuple[torch.Tensor, torch.Tensor] | None = None

    def upload(self, batch: NetworkInput) -> None:
        if self._inputs is not None:
            for target, array in zip(self._inputs, batch[:2], strict=True):
                target.copy_(torch.from_numpy(array))
            return
        inputs = self._inputs = on_device(batch, self._device)
        with torch.no_grad():
            self._call = lambda: self._graph(*inputs)
            if self._record:
                self._call, self._outputs = recorded(self._call)

    def run(self) -> object:
        outputs = self._call()
        if not self._record:
            self._outputs = outputs
        return outputs

    def turn(self) -> AbstractContextManager[object]:
        return torch.no_grad()

    def detections(self) -> Detections:
        with self.turn():
            self.run()
        return Detections(*self._outputs).numpy()
