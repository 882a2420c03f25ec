"""OpenVINO on the CPU, in fp32, bf16 or int8 (optional extra ``openvino``)."""

import os
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from engines.base import Engine
from engines.openvino.core import run_request
from engines.openvino.executed import require_executed
from engines.openvino.network import compile_network, inlined
from engines.openvino.precision import PRECISIONS, choose_precision
from engines.openvino.quantised import QuantisedLayers, written_for_openvino
from engines.quantised.remark import say_what_overflows
from refinemask.contract import INPUTS, OUTPUTS, Metadata, read_onnx, require_tensors
from refinemask.files import UserError
from refinemask.structures import Detections


class Request(NamedTuple):
    """A batch under way."""

    request: Any
    """OpenVINO's request, which holds the outputs once it has run."""
    inputs: dict[str, np.ndarray]
    """The inputs, by name."""


class OpenVINOEngine(Engine):
    """An exported fp32 file in OpenVINO, computed in fp32 or bf16, or an int8 file of it, the rest in fp32 or bf16.

    The precision is always asked for and verified afterwards: left alone, OpenVINO computes in bf16 wherever the CPU
    has AMX, and falls back to fp32 without a word where it has no bf16, or where it cannot compute a layer in 8 bits.

    A batch has a request of OpenVINO for itself from the upload to the download, because a request holds its outputs.
    Requests are kept for later batches: there are as many as batches were under way at the same time.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        model = read_onnx(path, weights=True)
        metadata = Metadata.of_model(model, path)
        values = model.graph.input, model.graph.output
        require_tensors(path, *([value.name for value in group] for group in values))
        precision = choose_precision(precision, metadata.precision, path)
        if device != "cpu":
            raise UserError(f"{path}: OpenVINO runs on the cpu, not on {device}; use --device cpu")
        if metadata.precision == "int8":
            model, layers = written_for_openvino(model, path)
        else:
            model, layers = inlined(model, path), QuantisedLayers()
        self.layers = layers
        """The quantised layers of an int8 file, by how they are computed."""
        self.model = compile_network(model, path, PRECISIONS[precision], threads)
        require_executed(self.model, precision, PRECISIONS[precision], self.layers.in_8_bits, path)
        super().__init__(
            name="OpenVINO",
            config=metadata.config,
            precision=precision,
            device=device,
            bounds=metadata.bounds,
            path=path,
        )
        self._idle: SimpleQueue[Any] = SimpleQueue()
        say_what_overflows(self.layers.kept, self.layers.total, path)

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> Request:
        with self.running():
            try:
                request = self._idle.get_nowait()
            except Empty:
                request = self.model.create_infer_request()
        return Request(request, dict(zip(INPUTS, (images, image_sizes), strict=True)))

    def run(self, inputs: Request) -> Request:
        with self._turn, self.running():
            run_request(*inputs)
        return inputs

    def download(self, outputs: Request) -> Detections:
        with self.running():
            found = Detections(*(outputs.request.get_tensor(name).data.copy() for name in OUTPUTS))
        # One that failed or was interrupted does not come back.
        self._idle.put(outputs.request)
        return found
