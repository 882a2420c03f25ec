"""Integer operators of ONNX Runtime: the numbers of the file as it is written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime
import pytest

from engines.quantised.integer import write_integer
from engines.quantised.patches import BANDS
from engines.quantised.saturation import kernels_saturate
from refinemask.onnx_session import session_options
from tests.support.extreme_layers import expected, extreme_input, extreme_network
from tests.support.tolerances import TOLERANCES, assert_near


def computed(model: onnx.ModelProto, x: np.ndarray, *, plain: bool = False) -> np.ndarray:
    """``y`` by the options of the engine, or without any optimisation."""
    options = session_options(1)
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [
        node.op_type for node in model.graph.node if node.op_type in ("QLinearConv", "MatMulIntegerToFloat", "Conv")
    ]


@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
@pytest.mark.parametrize("signs", ["random", "positive"])
@pytest.mark.parametrize("relu", [False, True])
def test_layers_of_extreme_weights_are_right(operator: str, signs: str, relu: bool) -> None:
    model, x = extreme_network(operator, relu=relu, signs=signs), extreme_input(operator)
    # So few channels would stay in float32.
    if operator == "Conv":
        model = _wide(model)
        x = np.concatenate([x] * 4, 1)
    wanted = expected(model, x)
    written = write_integer(model, saturates=kernels_saturate())
    assert written == (["layer"] if relu or not kernels_saturate() else [])
    assert_near(computed(model, x), wanted, "sums of extreme codes")


def _wide(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for four times the input channels."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    codes = onnx.numpy_helper.to_array(tensors["codes"])
    tensors["codes"].CopyFrom(onnx.numpy_helper.from_array(np.concatenate([codes] * 4, 1), "codes"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value *= 4
    return model


def test_the_probe_tells_where_kernels_are_wrong() -> None:
    model, x = extreme_network("Gemm", relu=False, signs="positive"), extreme_input("Gemm")
    wanted = expected(model, x)
    assert write_integer(model, saturates=False) == ["layer"]
    near = np.allclose(computed(model, x), wanted, rtol=0, atol=TOLERANCES["sums of extreme codes"].absolute * 10)
    assert near != kernels_saturate()


def network(*layers: dict[str, Any], relu: bool = True, residual: bool = False) -> onnx.ModelProto:
    """Convolutions behind a ReLU, each on rounded inputs; all scales and biases are powers of two or sums of them.

    So every sum is exact in float32, and the forms of the network must agree to the last bit.
    """
    random, channels = np.random.default_rng(3), 8
    node = onnx.helper.make_node
    constants: dict[str, Any] = {"zero": np.int8(0)}
    nodes, source = [node("Relu", ["x"], ["t"])], "t"
    for n, options in enumerate(layers):
        shape = (channels, channels // options.get("group", 1), *options.get("kernel_shape", (3, 3)))
        constants |= {
            f"s{n}": np.float32(2.0 ** (-4 if n == 0 else 2)),
            f"w{n}": random.integers(-127, 128, shape).astype(np.int8),
            f"ws{n}": np.exp2(-random.integers(3, 6, channels)).astype(np.float32),
            f"wz{n}": np.zeros(channels, np.int8),
            f"b{n}": random.integers(-99, 99, channels).astype(np.float32),
        }
        nodes += [
            node("QuantizeLinear", [source, f"s{n}", "zero"], [f"q{n}"]),
            node("DequantizeLinear", [f"q{n}", f"s{n}", "zero"], [f"d{n}"]),
            node("DequantizeLinear", [f"w{n}", f"ws{n}", f"wz{n}"], [f"r{n}"], axis=0),
            node("Conv", [f"d{n}", f"r{n}", f"b{n}"], [f"c{n}"], name=f"layer{n}", **options),
        ]
        source = f"c{n}"
        if relu and n < len(layers) - 1:
            nodes.append(node("Relu", [source], [f"a{n}"]))
            source = f"a{n}"
    nodes.append(node("Add", [source, "t" if residual else source], ["y"]))
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    values[0] = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, channels, 12, 14])
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(nodes, "layers", values[:1], values[1:], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


SAME = {"pads": [1, 1, 1, 1]}
ONE = {"kernel_shape": [1, 1]}
INPUT = np.random.default_rng(4).normal(0, 4, (2, 8, 12, 14)).astype(np.float32)


@pytest.mark.parametrize(
    ("layers", "operators"),
    [
        ([SAME, ONE], ["QLinearConv", "MatMulIntegerToFloat"]),
        ([SAME, SAME, ONE], ["QLinearConv", "QLinearConv", "MatMulIntegerToFloat"]),
        ([{"strides": [2, 2]}, ONE], ["QLinearConv", "MatMulIntegerToFloat"]),
        ([{"pads": [3, 0, 2, 1], "dilations": [3, 2]}, ONE], ["QLinearConv", "MatMulIntegerToFloat"]),
        ([ONE | {"strides": [2, 1]}], ["MatMulIntegerToFloat"]),
        ([{"group": 2, "pads": [1, 1, 1, 1]}, ONE], ["Conv", "MatMulIntegerToFloat"]),
        ([ONE, SAME], ["MatMulIntegerToFloat", "Conv"]),
    ],
)
def test_networks_stay_the_same(layers: list[dict[str, Any]], operators: list[str]) -> None:
    model = network(*layers)
    before = computed(model, INPUT, plain=True)
    write_integer(model, saturates=True)
    assert kinds(model) == operators
    np.testing.assert_array_equal(computed(model, INPUT), before)


@pytest.mark.parametrize("options", [SAME, {"strides": [2, 2]}, {"pads": [3, 0, 2, 1], "dilations": [3, 2]}])
def test_a_convolution_is_a_product_of_patches(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.quantised.eligible.NARROW", 1)
    model = network(options)
    before = computed(model, INPUT, plain=True)
    write_integer(model, saturates=True)
    assert kinds(model) == ["MatMulIntegerToFloat"] * BANDS
    np.testing.assert_array_equal(computed(model, INPUT), before)


@pytest.mark.parametrize("height", [1, 2, 3, 5, 9])
def test_patches_of_fewer_or_odd_rows_are_whole(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fewer rows than bands some bands are empty. Sizes are not known when the graph is written."""
    monkeypatch.setattr("engines.quantised.eligible.NARROW", 1)
    model = network(SAME)
    for axis in (0, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"size{axis}"
    before = computed(model, INPUT[:, :, :height, :6], plain=True)
    write_integer(model, saturates=True)
    assert kinds(model) == ["MatMulIntegerToFloat"] * BANDS
    np.testing.assert_array_equal(computed(model, INPUT[:, :, :height, :6]), before)


def test_patches_take_no_more_than_a_band_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("engines.quantised.eligible.NARROW", 1)
    model = network(SAME)
    write_integer(model, saturates=True)
    options = session_options(1)
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": INPUT})
    events = json.loads(Path(session.end_profiling()).read_text())
    sizes = [int(event["args"]["output_size"]) for event in events if "output_size" in event.get("args", {})]
    # As codes a pixel has 8 bytes, as float32 four times as many, and under the kernel nine times.
    assert max(sizes) <= max(INPUT.nbytes, 9 * INPUT.size // BANDS)


def test_codes_with_a_sign_stay_the_same_where_nothing_overflows() -> None:
    model = network(SAME, ONE, relu=False)
    for tensor in model.graph.initializer:
        if tensor.name == "w1":
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) // 2, "w1"))
    before = computed(model, INPUT, plain=True)
    assert write_integer(model, saturates=True) == ["layer0", "layer1"]
    assert kinds(model) == ["QLinearConv", "MatMulIntegerToFloat"]
    np.testing.assert_array_equal(computed(model, INPUT), before)


def test_who_reads_an_input_in_float32_gets_it_unrounded() -> None:
    """ONNX Runtime rounds it for all readers where a transpose stands before the rounding."""
    model = network(ONE, residual=True)
    before = computed(model, INPUT, plain=True)
    assert write_integer(model, saturates=True) == ["layer0"]
    np.testing.assert_array_equal(computed(model, INPUT), before)


def test_a_bias_beyond_32_bits_is_added_in_float32() -> None:
    model = network(ONE, ONE)
    for tensor in model.graph.initializer:
        if tensor.name == "ws0":
            scales = onnx.numpy_helper.to_array(tensor).copy()
            scales[0] = 2.0**-60
            tensor.CopyFrom(onnx.numpy_helper.from_array(scales, "ws0"))
    before = computed(model, INPUT, plain=True)
    write_integer(model, saturates=True)
    assert kinds(model) == ["MatMulIntegerToFloat", "MatMulIntegerToFloat"]
    np.testing.assert_array_equal(computed(model, INPUT), before)


def test_scales_in_float16_stay_as_they_are() -> None:
    """And the options of the engine keep ONNX Runtime from fusing them: its biases would overflow float16."""
    model = network(ONE, ONE)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float16), tensor.name))
    before = model.SerializeToString()
    assert write_integer(model, saturates=False) == []
    assert model.SerializeToString() == before
    x = INPUT.astype(np.float16)
    np.testing.assert_array_equal(computed(model, x), computed(model, x, plain=True))


@pytest.mark.parametrize("operator", ["QLinearConv", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "QGemm"])
def test_kernels_of_unsigned_codes_up_to_127_are_exact(operator: str) -> None:
    """Weights of 127 in every place, which no sum of two products may overflow."""
    x = np.full((1, 16, 4, 4) if "Conv" in operator else (16, 64), 127, np.uint8)
    weight = np.full((8, 16, 3, 3) if "Conv" in operator else (64, 8), 127, np.int8)
    total = 127 * 127 * weight[0].size if "Conv" in operator else 127 * 127 * 64
    one, ones, zeros = np.float32(1), np.ones(8, np.float32), np.zeros(8, np.int8)
    zero = np.uint8(0)
    inputs: dict[str, list[Any]] = {
        "QLinearConv": [one, zero, weight, ones, zeros, np.float32(total / 100), zero],
        "ConvInteger": [weight, zero],
        "MatMulInteger": [weight, zero],
        "MatMulIntegerToFloat": [weight, one, ones, zero, zeros],
        "QGemm": [one, zero, weight, ones, zeros],
    }
    names = [f"constant{n}" for n in range(len(inputs[operator]))]
    domain = "com.microsoft" if operator in ("MatMulIntegerToFloat", "QGemm") else ""
    node = onnx.helper.make_node(operator, ["x", *names], ["y"], domain=domain)
    constants = [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in zip(names, inputs[operator], strict=True)]
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, x.shape)
    graph = onnx.helper.make_graph([node], "kernel", [given], [onnx.ValueInfoProto(name="y")], constants)
    versions = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.microsoft", 1)]
    found = computed(onnx.helper.make_model(graph, opset_imports=versions, ir_version=10), x)
    np.testing.assert_array_equal(found, 100 if operator == "QLinearConv" else total)
