"""Layers without a bias, whose readers OpenVINO computes wrong."""

from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnxruntime
import pytest

from engines.quantised.codes import write_unsigned
from engines.quantised.layers import quantised_layers

pytest.importorskip("openvino", reason="needs the extra 'openvino'")

from engines.openvino.biases import NEGLIGIBLE, give_biases
from engines.openvino.core import openvino_core

CHANNELS = 14
NETWORK = """
<ir_version: 10, opset_import: ["" : 20]>
network (float[B,8,14,14] x) => (float[B,14,R] read, float[B,14,14,14] rounded)
<float s = {0.09}, int8 z = {0}, int8[14,8,1,1] codes, float[14] scales, int8[14] zeros, int64[3] shape = {0, 0, -1}>
{
    seen = Relu (x)
    q = QuantizeLinear (seen, s, z)
    d = DequantizeLinear (q, s, z)
    w = DequantizeLinear <axis = 0> (codes, scales, zeros)
    c = Conv (d, w)
    y = Relu (c)
    pooled = READER
    read = Reshape (pooled, shape)
    again = QuantizeLinear (y, s, z)
    rounded = DequantizeLinear (again, s, z)
}
"""
READERS = ("Identity (y)", "MaxPool <kernel_shape = [2, 2]> (y)")


def network(reader: str) -> onnx.ModelProto:
    """A convolution without a bias; what follows it is read by a QuantizeLinear and by ``reader``.

    Its batch is not known beforehand: where it is, OpenVINO 2026.4 is right without a bias, too.
    """
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "codes": random.integers(-127, 128, (CHANNELS, 8, 1, 1)).astype(np.int8),
        "scales": random.uniform(0.001, 0.01, CHANNELS).astype(np.float32),
        "zeros": np.zeros(CHANNELS, np.int8),
    }
    model = onnx.parser.parse_model(NETWORK.replace("READER", reader))
    del model.graph.value_info[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


@pytest.mark.parametrize("bias", ["none", "zeros"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_rounded_again_has_its_scale(reader: str, bias: str) -> None:
    model, x = network(reader), np.random.default_rng(1).normal(0, 4, (2, 8, 14, 14)).astype(np.float32)
    if bias == "zeros":
        next(quantised_layers(model.graph)).node.input.append("bias")
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(CHANNELS, np.float32), "bias"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    expected = dict(zip(("read", "rounded"), session.run(["read", "rounded"], {"x": x}), strict=True))
    give_biases(model.graph)
    write_unsigned(model.graph)
    core = openvino_core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = compiled({"x": x})
    for name, values in expected.items():
        # A float32 sum at the edge of a step may tip a code.
        assert (np.abs(found[name] - values) > 1e-3).mean() < 1e-3, name


def test_biases_that_say_something_stay() -> None:
    model = network(READERS[0])
    layer = next(quantised_layers(model.graph)).node
    layer.input.append("bias")
    values = np.arange(CHANNELS, dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "bias"))
    before = model.SerializeToString()
    give_biases(model.graph)
    assert model.SerializeToString() == before
    layer.input[2] = "x"
    before = model.SerializeToString()
    give_biases(model.graph)
    assert model.SerializeToString() == before


@pytest.mark.parametrize(("transposed", "channels"), [(0, 6), (1, 4)])
def test_a_linear_layer_has_a_bias_for_each_output(transposed: int, channels: int) -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]> linear (float[2,A] x) => (float[2,B] y)
        <float s = {0.1}, int8 z = {0}, int8[4,6] codes, int8[4,6] other>
        { q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) w = DequantizeLinear (codes, s, z)
          y = Gemm <transB = TRANSPOSED> (d, w) }"""
    model = onnx.parser.parse_model(text.replace("TRANSPOSED", str(transposed)))
    del model.graph.value_info[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 6), np.int8), "codes"))
    give_biases(model.graph)
    bias = onnx.numpy_helper.to_array(model.graph.initializer[-1])
    np.testing.assert_array_equal(bias, np.full(channels, NEGLIGIBLE, np.float32))
    assert model.graph.node[-1].input[2] == model.graph.initializer[-1].name
