"""Whether OpenVINO's 8-bit kernels are right on this CPU, found by computing sums that do not fit into 16 bits."""

from functools import cache
from typing import Any

import numpy as np
import onnx.parser

from engines.openvino.core import openvino_core, run_request
from engines.openvino.executed import EIGHT_BITS, executed_layers

CODE = 127
"""Every input, with the unsigned code of 255, and every weight."""
CHANNELS = 16
PROBE = """
<ir_version: 10, opset_import: ["" : 20]>
probe (float[1,16,8,8] x, float[8,16] rows) => (float[1,16,6,6] wide, float[1,16,8,8] narrow, float[8,16] linear)
<float one = {1}, uint8 middle = {128}, int8 zero = {0},
 int8[16,16,3,3] wide_codes, int8[16,16,1,1] narrow_codes, int8[16,16] linear_codes>
{
    map_codes = QuantizeLinear (x, one, middle)
    map = DequantizeLinear (map_codes, one, middle)
    row_codes = QuantizeLinear (rows, one, middle)
    row = DequantizeLinear (row_codes, one, middle)
    wide_weight = DequantizeLinear (wide_codes, one, zero)
    narrow_weight = DequantizeLinear (narrow_codes, one, zero)
    linear_weight = DequantizeLinear (linear_codes, one, zero)
    wide = Conv (map, wide_weight)
    narrow = Conv (map, narrow_weight)
    linear = Gemm <transB = 1> (row, linear_weight)
}
"""
"""A wide and a narrow convolution, and a linear layer."""
PRODUCTS = {"wide": 9 * CHANNELS, "narrow": CHANNELS, "linear": CHANNELS}
"""Number of products that each output adds."""


@cache
def sums_overflow() -> bool:
    """Whether this CPU cuts the sum of two products of 8 bits; True, too, where that cannot be seen.

    The answer is of numbers, not of the CPU's name: it computes the largest sums and compares them with the exact ones.
    """
    network = _compiled_probe()
    layers = executed_layers(network)
    if len(layers) != len(PRODUCTS) or not {layer.precision for layer in layers} <= EIGHT_BITS:
        return True
    request = network.create_infer_request()
    shapes = {"x": (1, CHANNELS, 8, 8), "rows": (8, CHANNELS)}
    run_request(request, {name: np.full(shape, CODE, np.float32) for name, shape in shapes.items()})
    return any(
        not np.allclose(request.get_tensor(name).data, products * CODE * CODE, rtol=1e-5, atol=0)
        for name, products in PRODUCTS.items()
    )


def _compiled_probe() -> Any:
    model = onnx.parser.parse_model(PROBE)
    for value in model.graph.value_info:
        shape = [size.dim_value for size in value.type.tensor_type.shape.dim]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(shape, CODE, np.int8), value.name))
    core = openvino_core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
