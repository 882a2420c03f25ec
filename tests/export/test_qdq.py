"""Q/DQ nodes: what they round, how finely, and that TensorRT's rules hold."""

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from onnx_ir import DataType

from export.qdq import FORMATS, QuantizedType, insert_qdq, kept_layers, layers
from tests.support.tolerances import assert_near

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
two_readers (float[B,4,6,6] x) => (float[B,8,6,6] first, float[B,8,6,6] second, float[B,5] third)
<float[8,4,1,1] weight, float[144,5] matrix, float[5] bias = {0, 1, 2, 3, 4}>
{
    first = Conv (x, weight)
    second = Conv (x, weight)
    flat = Flatten (x)
    third = Gemm (flat, matrix, bias)
}
"""
LIMIT = 2.0
"""The range of the input, which has values beyond it."""


def example(dtype: type = np.float32) -> ir.Model:
    random = np.random.default_rng(0)
    model = onnx.parser.parse_model(GRAPH.replace("float[", "float16[") if dtype is np.float16 else GRAPH)
    weight = random.normal(size=(8, 4, 1, 1)) * np.logspace(-3, 1, 8).reshape(8, 1, 1, 1)
    weight[3] = 0
    for name, array in (("weight", weight), ("matrix", random.normal(size=(144, 5)))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(dtype), name))
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def quantised(precision: QuantizedType, dtype: type = np.float32) -> ir.Model:
    model = example(dtype)
    insert_qdq(model.graph, dict.fromkeys(layers(model.graph), LIMIT), precision)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


def rounded(values: np.ndarray, limit: np.ndarray | np.float64, precision: QuantizedType) -> np.ndarray:
    """The reference; its quotients are float32 as ONNX defines them, or values between two steps would differ."""
    largest = FORMATS[precision].limit
    scale = (np.maximum(limit, np.finfo(np.float32).tiny * largest) / largest).astype(np.float32)
    # int8 has one step more below zero, which only values out of range reach.
    scaled = np.clip(values / scale, -128 if precision == "int8" else -largest, largest)
    nearest = np.rint(scaled) if precision == "int8" else scaled.astype(ml_dtypes.float8_e4m3fn)
    return nearest.astype(np.float64) * scale


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_every_reader_gets_the_rounded_input_and_weight(precision: QuantizedType) -> None:
    model, source = quantised(precision), example()
    x = np.random.default_rng(1).normal(size=(2, 4, 6, 6)).astype(np.float32)
    assert np.abs(x).max() > LIMIT
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    first, second, third = session.run(None, {"x": x})
    weight, matrix = (source.graph.initializers[name].const_value.numpy() for name in ("weight", "matrix"))  # type: ignore[union-attr]
    axes = {"weight": (1, 2, 3), "matrix": (0,)} if precision == "int8" else {"weight": None, "matrix": None}
    kernel, columns = (
        rounded(values, np.abs(values).max(axis=axes[name], keepdims=True), precision)
        for name, values in (("weight", weight), ("matrix", matrix))
    )
    inputs = rounded(x, np.float64(LIMIT), precision)
    expected = np.einsum("bchw,kc->bkhw", inputs, kernel[:, :, 0, 0])
    assert_near(first, expected, "quantised sums")
    np.testing.assert_array_equal(first, second)
    assert_near(third, inputs.reshape(2, -1) @ columns + np.arange(5), "quantised sums")


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tensorrt_s_rules(precision: QuantizedType, dtype: type) -> None:
    graph = quantised(precision, dtype).graph
    kinds = [node.op_type for node in graph]
    # One pair for the input, which two layers read, one for what the third reads; the two weights are stored rounded.
    assert (kinds.count("QuantizeLinear"), kinds.count("DequantizeLinear")) == (2, 4)
    assert set(graph.initializers) & {"weight", "matrix"} == set()
    for node in graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _, scale, zero = node.inputs
            assert scale is not None
            assert zero is not None
            assert (scale.dtype, zero.dtype) == (DataType.from_numpy(np.dtype(dtype)), FORMATS[precision].type)
            assert not zero.const_value.numpy().astype(np.float32).any(), "TensorRT: symmetric"  # type: ignore[union-attr]
            assert (scale.const_value.numpy() > 0).all(), "a silent channel must not divide by zero"  # type: ignore[union-attr]
    assert graph.initializers["weight.rounded"].dtype == FORMATS[precision].type


def test_layers_without_a_range_stay() -> None:
    model = example()
    insert_qdq(model.graph, {"Gemm_3": LIMIT}, "int8")
    stay, changed = layers(model.graph)["Conv_0"], layers(model.graph)["Gemm_3"]
    assert [value.name for value in stay.inputs if value] == ["x", "weight"]
    assert [value.name for value in changed.inputs if value] == ["flat.restored", "matrix.restored", "bias"]


CHAINS = """
<ir_version: 10, opset_import: ["" : 20]>
chains (float[B,8,6,6] x) => (float[B,8,6,6] block, float[B,8,12,12] merged, float[B,8,12,12] smooth,
                              float[B,8,6,6] total, float[B,8,6,6] kept)
<float[8,8,1,1] weight, float[4] twice = {1, 1, 2, 2}>
{
    inner = Conv (x, weight)
    block = Add (inner, x)
    repeated = Resize <mode: string = "nearest", coordinate_transformation_mode: string = "asymmetric"> (x, , twice)
    lateral = Conv (repeated, weight)
    merged = Add (lateral, repeated)
    smooth = Resize <mode: string = "linear"> (x, , twice)
    first = Relu (inner)
    second = Relu (x)
    two = Add (first, second)
    three = Add (two, first)
    total = Conv (three, weight)
    kept = Add (second, x)
}
"""


def chained(precision: QuantizedType) -> ir.Model:
    """Every convolution is quantised but the one that makes ``lateral``, whose input has no range."""
    model = onnx.parser.parse_model(CHAINS)
    weight = np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32) / 4
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    for node in model.graph.node:
        node.name = node.output[0]
    graph = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    insert_qdq(graph.graph, {"inner": 2.0, "total": 6.0}, precision)
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    return graph


def reads(model: ir.Model) -> dict[str, list[str]]:
    return {str(node.name): [str(value.name) for value in node.inputs if value] for node in model.graph}


def test_sums_and_enlargements_read_what_layers_read_rounded() -> None:
    read = reads(chained("int8"))
    assert read["inner"][0] == "x.restored"
    assert read["block"] == ["inner", "x.restored"]
    assert read["repeated"][0] == "x.restored"
    assert read["merged"] == ["lateral", "repeated"], "what no layer reads rounded has no range"
    assert read["smooth"][0] == read["second"][0] == "x"
    assert read["kept"] == ["second", "x"], "a sum without a convolution"


def test_chains_of_rounded_values_compute_what_is_written() -> None:
    model = chained("int8")
    x = np.random.default_rng(1).normal(size=(2, 8, 6, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    block, merged, total = session.run(["block", "merged", "total"], {"x": x})
    source = np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32) / 4
    kernel = rounded(source, np.abs(source).max(axis=(1, 2, 3), keepdims=True), "int8")[:, :, 0, 0]
    narrow = rounded(x, np.float64(2.0), "int8")
    inner = np.einsum("bchw,kc->bkhw", narrow, kernel)
    assert_near(block, inner + narrow, "quantised sums")
    repeated = narrow.repeat(2, axis=2).repeat(2, axis=3)
    assert_near(merged, np.einsum("bchw,kc->bkhw", repeated, source[:, :, 0, 0]) + repeated, "quantised sums")
    limit = np.float64(6.0)
    first, second = (np.maximum(values, 0) for values in (inner, x))
    three = rounded(first + second + first, limit, "int8")
    assert_near(total, np.einsum("bchw,kc->bkhw", three, kernel), "quantised sums")


def test_a_float_of_8_bits_rounds_the_inputs_of_layers_alone() -> None:
    read = reads(chained("fp8"))
    assert read["block"] == ["inner", "x"]
    assert read["repeated"][0] == "x"
    assert read["three"] == ["two", "first"]


def test_layers_that_decide_boxes_are_kept(tiny_files: tuple) -> None:
    heads = "cls_logits", "bbox_deltas"
    assert set(kept_layers(ir.load(tiny_files[1]).graph)) == {
        "backbone.conv1/Conv",
        *(f"rpn/Conv{level}" for level in ("", "_2", "_3", "_4", "_5")),
        *(f"box_head.{head}/Gemm" for head in heads),
    }
