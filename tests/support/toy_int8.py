"""A tiny int8 ONNX file with the exported contract, whose layers are of each kind that the engines write anew."""

from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnxruntime
from numpy.typing import NDArray

from refinemask.contract import INPUTS
from refinemask.structures import Detections
from tests.support.toy_onnx import DETECTIONS, METADATA, SQUASH

CHANNELS = 16
MASKS = 3 * 4 * 4
"""Numbers of the masks, which are what the last layer makes."""
LAYERS = ("wide", "narrow", "signed", "linear")
"""Names of the quantised layers: a convolution that makes codes, one that is added to, a signed input, a product."""

GRAPH = (
    """
<ir_version: 10, opset_import: ["" : 20, "refinemask" : 1]>
toy (uint8[B,3,H,W] images, int64[B,2] image_sizes) =>
    (float[B,3,4] boxes, float[B,3] scores, int64[B,3] labels, int64[B] num_detections, float[B,3,4,4] masks)
<float one_over_255 = {0.00392156862745098}, int64[2] space = {2, 3}, int64[1] last = {1}, int64[1] second = {1},
 int64[4] mask_shape = {-1, 3, 4, 4}, int64[1] three = {3},
 float[3,4] corners = {0, 0, 1, 1, 0, 0, 0.5, 0.5, 0, 0, 0.33, 0.33}, int64[4] order = {1, 0, 1, 0},
 float s0 = {0.03125}, float s1 = {0.0625}, float s2 = {0.25}, float s3 = {0.125}, int8 zero = {0}>
{
    pixels = Cast <to: int = 1> (images)
    scaled = Mul (pixels, one_over_255)
    stem = Conv <pads: ints = [1, 1, 1, 1]> (scaled, kernel)
    seen = Relu (stem)
    q0 = QuantizeLinear (seen, s0, zero)
    d0 = DequantizeLinear (q0, s0, zero)
    wide_weight = DequantizeLinear <axis: int = 0> (wide_codes, wide_scales, wide_zeros)
    wide = Conv <pads: ints = [1, 1, 1, 1]> (d0, wide_weight, wide_bias)
    wide_seen = Relu (wide)
    q1 = QuantizeLinear (wide_seen, s1, zero)
    d1 = DequantizeLinear (q1, s1, zero)
    narrow_weight = DequantizeLinear <axis: int = 0> (narrow_codes, narrow_scales, narrow_zeros)
    narrow = Conv (d1, narrow_weight, narrow_bias)
    added = Add (narrow, d0)
    q2 = QuantizeLinear (added, s2, zero)
    d2 = DequantizeLinear (q2, s2, zero)
    signed_weight = DequantizeLinear <axis: int = 0> (signed_codes, signed_scales, signed_zeros)
    signed = Conv (d2, signed_weight, signed_bias)
    means = ReduceMean <keepdims: int = 0> (signed, space)
    magnitudes = Abs (means)
    q3 = QuantizeLinear (magnitudes, s3, zero)
    d3 = DequantizeLinear (q3, s3, zero)
    linear_weight = DequantizeLinear <axis: int = 0> (linear_codes, linear_scales, linear_zeros)
    linear = Gemm <transB: int = 1> (d3, linear_weight, linear_bias)
    masks = Reshape (linear, mask_shape)
"""
    + DETECTIONS
    + """}
"""
    + SQUASH
)


def toy_int8() -> onnx.ModelProto:
    """The model. Its scales are powers of two and its biases whole steps, so that nothing depends on an order."""
    model, random = onnx.parser.parse_model(GRAPH), np.random.default_rng(0)
    arrays: dict[str, NDArray] = {"kernel": (random.integers(-8, 9, (CHANNELS, 3, 3, 3)) / 16).astype(np.float32)}
    for name in LAYERS:
        outputs = MASKS if name == "linear" else CHANNELS
        shape = {"wide": (3, 3), "linear": ()}.get(name, (1, 1))
        # Of a signed input two products of 255 and 64 fit into 16 bits.
        largest = 64 if name == "signed" else 127
        arrays |= {
            f"{name}_codes": random.integers(-largest, largest + 1, (outputs, CHANNELS, *shape)).astype(np.int8),
            f"{name}_scales": np.exp2(-random.integers(9, 12, outputs)).astype(np.float32),
            f"{name}_zeros": np.zeros(outputs, np.int8),
            f"{name}_bias": (random.integers(-16, 17, outputs) / 8).astype(np.float32),
        }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.helper.set_model_props(model, METADATA | {"precision": "int8"})
    onnx.checker.check_model(model, full_check=True)
    return model


def as_written(path: Path, images: NDArray[np.uint8], image_sizes: NDArray[np.int64]) -> Detections:
    """What a file says, computed by ONNX Runtime without any optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = dict(zip(INPUTS, (images, image_sizes), strict=True))
    return Detections(*session.run(list(Detections._fields), feed))


def node_of(model: onnx.ModelProto, output: str) -> onnx.NodeProto:
    """The node that makes the tensor ``output``."""
    return next(node for node in model.graph.node if output in node.output)


def value(model: onnx.ModelProto, name: str) -> NDArray:
    """The constant of this name."""
    return onnx.numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name)).copy()


def put(model: onnx.ModelProto, name: str, array: NDArray | np.generic) -> None:
    """Give the model a constant, or another value for one that it has."""
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name == name]:
        model.graph.initializer.remove(tensor)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
