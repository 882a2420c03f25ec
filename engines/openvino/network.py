"""An exported file as a compiled network of OpenVINO."""

import os
from typing import Any

import onnx
import onnx.checker
import onnx.inliner

from engines.openvino.core import openvino_core
from refinemask.extras import needed_by
from refinemask.foreign import foreign_errors

AGAIN = "export it again (export.to_onnx)"


def inlined(model: onnx.ModelProto, path: str | os.PathLike[str]) -> onnx.ModelProto:
    """A model with its functions, the bodies of the custom operators, in their places.

    Raises:
        UserError: they cannot be inlined; it names the file ``path``.
    """
    with foreign_errors(f"{path}: not a readable ONNX file", AGAIN):
        return onnx.inliner.inline_local_functions(model)


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
    with foreign_errors(f"{path}: OpenVINO cannot compile it", AGAIN):
        # OpenVINO does not check: an operator set of 2^40 keeps its reader busy for ever.
        onnx.checker.check_model(model)
        network = core.read_model(model.SerializeToString())
        # bf16 is 4 px coarse above 512. OpenVINO keeps in fp32 what leads to an output with no convolution on the way,
        # so the coordinates of the RoIs become outputs, too.
        network.add_outputs([node.input_value(1) for node in network.get_ops() if node.get_type_name() == "ROIAlign"])
        return core.compile_model(network, "CPU", options)
