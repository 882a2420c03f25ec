"""Whether the 8-bit kernels of ONNX Runtime overflow on this CPU."""

from functools import cache

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime

from engines.quantised.layers import MICROSOFT

SIZE = 64
"""Rows, inputs and outputs of the product that is tried: enough for the kernels of large products."""


@cache
def kernels_saturate() -> bool:
    """Whether a product of the largest unsigned codes and weights is wrong here.

    It is right on a CPU with VNNI or AMX, and on ARM. Without them two products are added in 16 bits.
    """
    weight = np.full((SIZE, SIZE), 127, np.int8)
    constants = {"weight": weight, "scale": np.float32(1), "zero": np.uint8(0)}
    node = onnx.helper.make_node(
        "MatMulIntegerToFloat", ["codes", "weight", "scale", "scale", "zero"], ["product"], domain=MICROSOFT
    )
    graph = onnx.helper.make_graph(
        [node],
        "probe",
        [onnx.helper.make_tensor_value_info("codes", onnx.TensorProto.UINT8, [SIZE, SIZE])],
        [onnx.helper.make_tensor_value_info("product", onnx.TensorProto.FLOAT, [SIZE, SIZE])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    versions = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid(MICROSOFT, 1)]
    model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (product,) = session.run(None, {"codes": np.full((SIZE, SIZE), 255, np.uint8)})
    return bool((product != SIZE * 255 * 127).any())
