"""OpenVINO on the CPU, in fp32 or bf16 (optional extra ``openvino``)."""

import os
from functools import cache
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.checker
import onnx.inliner

from engines.base import Engine
from refinemask.contract import INPUTS, OUTPUTS, Metadata, read_onnx, require_tensors
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import foreign_errors
from refinemask.structures import Detections

PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class Request(NamedTuple):
    """A batch under way."""

    request: Any
    """OpenVINO's request, which holds the outputs once it has run."""
    inputs: dict[str, np.ndarray]
    """The inputs, by name."""


class OpenVINOEngine(Engine):
    """An exported fp32 file in OpenVINO, computed in fp32 or bf16.

    The precision is always asked for and verified afterwards: left alone, OpenVINO computes in bf16 wherever the CPU
    has AMX, and falls back to fp32 without a word where it has no bf16.

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
        if metadata.precision != "fp32":
            raise UserError(f"{path}: OpenVINO runs fp32 exports, in fp32 or bf16; this one is {metadata.precision}")
        precision = precision or "fp32"
        if precision not in PRECISIONS or device != "cpu":
            raise UserError(f"{path}: OpenVINO runs on the cpu in fp32 or bf16, not on {device} in {precision}")
        with foreign_errors(f"{path}: not a readable ONNX file", "export it again (export.to_onnx)"):
            model = onnx.inliner.inline_local_functions(model)
        self.model = compile_network(model, path, PRECISIONS[precision], threads)
        super().__init__(
            name="OpenVINO",
            config=metadata.config,
            precision=precision,
            device=device,
            bounds=metadata.bounds,
            path=path,
        )
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._verify_precision(path)

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

    def _verify_precision(self, path: str | os.PathLike[str]) -> None:
        wanted, (convolutions, rois) = PRECISIONS[self.precision], executed_precisions(self.model)
        if convolutions != {wanted} or not rois <= {"f32"}:
            raise UserError(
                f"{path}: {self.precision} was asked for, but OpenVINO computes convolutions in "
                f"{' and '.join(sorted(convolutions))}, RoI coordinates in {' and '.join(sorted(rois))}; "
                "bf16 needs a CPU with AMX or AVX512_BF16, use --precision fp32"
            )


def run_request(request: Any, inputs: dict[str, np.ndarray]) -> None:
    """Compute a request of OpenVINO, and raise what a node of it raises.

    OpenVINO's own ``infer`` swallows that, and leaves the failed run in a queue that later models share: it runs again
    before theirs, although its own model may be gone by then.
    """
    request.start_async(inputs, share_inputs=True)
    request.wait()


def openvino_core() -> Any:
    """The one core of OpenVINO in this process, which lasts as long as the process.

    A core gives its thread a stack for signals, and takes it away when it goes. Of two cores the second to come
    remembers the first one's stack and brings it back when it goes, although it is gone if the first one went before:
    the next signal (Ctrl-C, a child process that ends) then crashes the interpreter, or overwrites other memory.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    return _core_of(openvino)


@cache
def _core_of(openvino: ModuleType) -> Any:
    return openvino.Core()


def executed_precisions(model: Any) -> tuple[set[str], set[str]]:
    """The precisions in which a compiled model computes its convolutions, and the boxes that RoIAlign takes."""
    convolutions, rois = set(), set()
    for node in model.get_runtime_model().get_ops():
        kind = node.get_rt_info()["layerType"].astype(str)
        if "Convolution" in kind:
            convolutions.add(node.get_rt_info()["runtimePrecision"].astype(str))
        if kind == "ROIAlign":
            boxes = node.input_value(1)
            # Where the boxes were computed in another precision, a reorder converts them.
            if boxes.get_node().get_rt_info()["layerType"].astype(str) == "Reorder":
                boxes = boxes.get_node().input_value(0)
            rois.add(boxes.get_element_type().to_string())
    return convolutions, rois


def compile_network(
    model: onnx.ModelProto,
    path: str | os.PathLike[str],
    precision: str,
    threads: int | None,
    *,
    profile: bool = False,
) -> Any:
    """An inlined export as a compiled network of OpenVINO, whose first outputs are those of the file.

    Args:
        model: the file's model, with all functions inlined.
        path: the file, for messages.
        precision: ``f32`` or ``bf16``.
        threads: CPU threads; None leaves the number to OpenVINO.
        profile: whether to measure the time of every node.

    Raises:
        UserError: OpenVINO is missing or refuses the file.
    """
    with needed_by(f"{path}: backend 'openvino'"):
        core = openvino_core()
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if profile:
        options["PERF_COUNT"] = True
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    with foreign_errors(f"{path}: OpenVINO cannot compile it", "export it again (export.to_onnx)"):
        # OpenVINO does not check: an operator set of 2^40 keeps its reader busy for ever.
        onnx.checker.check_model(model)
        network = core.read_model(model.SerializeToString())
        # bf16 is 4 px coarse above 512. OpenVINO keeps in fp32 what leads to an output with no convolution on the way,
        # so the coordinates of the RoIs become outputs, too.
        network.add_outputs([node.input_value(1) for node in network.get_ops() if node.get_type_name() == "ROIAlign"])
        return core.compile_model(network, "CPU", options)
