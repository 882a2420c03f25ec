"""Codes written without a sign: the same numbers, and no sum of two products beyond 16 bits."""

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnx.shape_inference
import onnxruntime
import pytest

from engines.quantised.codes import write_unsigned
from engines.quantised.layers import Wiring, quantised_layers
from engines.quantised.overflow import keep_in_float, overflowing_layers
from engines.quantised.signs import Signs
from tests.support.extreme_layers import expected, extreme_input, extreme_network
from tests.support.tolerances import assert_near


def as_written(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(["y"], {"x": x})[0]


def types(model: onnx.ModelProto) -> set[np.dtype]:
    """Types of the zero points of inputs."""
    wiring = Wiring(model.graph)
    return {
        wiring.constant(node.input[2]).dtype  # type: ignore[union-attr]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
@pytest.mark.parametrize("relu", [False, True])
def test_the_numbers_stay_the_same(operator: str, relu: bool) -> None:
    model, x = extreme_network(operator, relu=relu), extreme_input(operator)
    before = as_written(model, x)
    assert_near(before, expected(model, x), "sums of extreme codes")
    # Exported files note the types of all tensors.
    model.graph.value_info.extend(onnx.shape_inference.infer_shapes(model).graph.value_info)
    write_unsigned(model.graph)
    assert types(model) == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(as_written(model, x), before)
    assert overflowing_layers(model.graph) == ([] if relu else ["layer"])
    keep_in_float(model.graph, ["layer"])
    assert not list(quantised_layers(model.graph))
    np.testing.assert_array_equal(as_written(model, x), before)


def test_weights_of_seven_bits_cannot_overflow() -> None:
    model = extreme_network("Conv", relu=False)
    codes = next(tensor for tensor in model.graph.initializer if tensor.name == "codes")
    write_unsigned(model.graph)
    for largest, names in ((65, ["layer"]), (64, [])):
        half = np.clip(onnx.numpy_helper.to_array(codes), -largest, largest)
        codes.CopyFrom(onnx.numpy_helper.from_array(half, "codes"))
        assert overflowing_layers(model.graph) == names


def test_two_readers_share_their_codes_and_weight() -> None:
    model, x = extreme_network("Conv", relu=True), extreme_input("Conv")
    first = model.graph.node[-1]
    second = model.graph.node.add()
    second.CopyFrom(first)
    second.name, second.output[0], first.output[0] = "second", "b", "a"
    model.graph.node.append(onnx.helper.make_node("Add", ["a", "b"], ["y"]))
    before = as_written(model, x)
    write_unsigned(model.graph)
    assert [node.op_type for node in model.graph.node].count("Clip") == 1
    keep_in_float(model.graph, ["layer", "second"])
    np.testing.assert_array_equal(as_written(model, x), before)


def test_codes_that_something_else_reads_stay() -> None:
    model = extreme_network("Conv", relu=True)
    model.graph.output.append(onnx.helper.make_tensor_value_info("rounded", onnx.TensorProto.INT8, None))
    model.graph.node.append(onnx.helper.make_node("Identity", ["rounded"], ["copied"]))
    before = model.SerializeToString()
    write_unsigned(model.graph)
    assert model.SerializeToString() == before


SIGNS = """
<ir_version: 10, opset_import: ["" : 20, "refinemask" : 1]>
graph (float[1,2,4,4] x, float[3,5] rois) => (float[1,2,4,4] y)
<float low = {0}, float[1,2,1,1] positive = {1, 2}, float[1,2,1,1] mixed = {1, -2}, bool[1] choice = {1}>
{
    relu = Relu (x)
    pooled = MaxPool <kernel_shape = [1, 1]> (relu)
    resized = Resize <mode = "linear"> (relu)
    overshot = Resize <mode = "cubic"> (relu)
    cut = Clip (x, low)
    open = Clip (x)
    bent = Clip (open, rois)
    sum = Add (pooled, cut)
    scaled = Mul (sum, positive)
    turned = Mul (sum, mixed)
    joined = Concat <axis = 1> (scaled, resized)
    joined_with_x = Concat <axis = 1> (scaled, x)
    chosen = Where (choice, relu, cut)
    aligned = refinemask.MultilevelRoIAlign1 (relu, rois)
    aligned_x = refinemask.MultilevelRoIAlign1 (x, rois)
    largest = Max (x, relu)
    difference = Sub (relu, cut)
    y = Identity (x)
}
"""


def test_signs_are_found_by_what_made_a_tensor() -> None:
    signs = Signs(Wiring(onnx.parser.parse_model(SIGNS).graph))
    never = ("relu", "pooled", "resized", "cut", "sum", "scaled", "joined", "chosen", "aligned", "largest", "positive")
    perhaps = ("x", "overshot", "open", "bent", "turned", "joined_with_x", "aligned_x", "difference", "y", "mixed")
    assert [name for name in never if not signs.never_negative(name)] == []
    assert [name for name in perhaps if signs.never_negative(name)] == []
