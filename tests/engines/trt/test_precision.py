"""In which types an engine computes, from the records of TensorRT's inspector."""

from contextlib import nullcontext
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest

from engines.trt.precision import PrecisionNotMetError, as_tf32, file_shares, inspector_shares, require_met


def layer(kind: str, *types: str) -> dict[str, object]:
    tensors = [{"Name": f"t{n}", "Dimensions": [1], "Format/Datatype": text} for n, text in enumerate(types)]
    return {"Name": kind, "LayerType": kind, "Inputs": tensors[:-1], "Outputs": tensors[-1:]}


def test_spellings_of_the_inspector() -> None:
    shares = inspector_shares(
        [
            layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0", "Half"),
            layer("conv", "Half", "Half"),
            layer("gemm", "Float", "Float"),
            layer("CaskGemmConvolution", "Thirty-two wide channel vectorized row major Int8 format", "Half"),
            layer("NoOp", "BFloat16", "BFloat16"),
            layer("ShapeHostToDevice", "Int64", "Int64"),
            layer("PluginV3", "Float", "Int32"),
        ]
    )
    assert shares["compute"] == {"fp16": 0.5, "fp32": 0.25, "int8": 0.25}
    assert shares["layers"] == pytest.approx({"fp16": 0.6, "fp32": 0.2, "bf16": 0.2})


def test_fields_of_another_version() -> None:
    record = {"LayerType": "matmul", "Inputs": [{"Datatype": "FP8", "Format": "linear"}], "Outputs": []}
    assert inspector_shares([record])["compute"] == {"fp8": 1.0}


FILE = """
<ir_version: 10, opset_import: ["" : 20, "refinemask" : 1]>
typed (float16[1,3,8,8] x) => (float16[1,3,8,8] y)
<float16 scale = {1}, int8 zero = {0}, int8[3,3,1,1] narrow, float16[3,3,1,1] weight, float16[8,8] square,
 float16[1,3,8,8] wide, int8[1,3,8,8] rounded, float16[1,3,8,8] a, float16[1,3,8,8] b, int64[4] sizes>
{
    rounded = QuantizeLinear (x, scale, zero)
    wide = DequantizeLinear (rounded, scale, zero)
    kernel = DequantizeLinear (narrow, scale, zero)
    a = Conv (wide, kernel)
    b = Conv (a, weight)
    c = ConvTranspose (b, weight)
    sizes = Shape (c)
    d = refinemask.Conv (c)
    e = MatMul (d, square)
    y = MatMul (e, f)
}
"""


def test_types_of_a_file() -> None:
    """A quantised layer, three of half precision, one of which only the weight's type is known, and one unknown."""
    model = onnx.parser.parse_model(FILE)
    del model.graph.initializer[:]
    for name, dtype in (("weight", np.float16), ("square", np.float16), ("narrow", np.int8), ("zero", np.int8)):
        shape = (8, 8) if name == "square" else (3, 3, 1, 1) if name != "zero" else ()
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, dtype), name))
    shares = file_shares(model)
    assert shares["compute"] == {"fp16": 0.6, "int8": 0.2, "unknown": 0.2}
    assert shares["tensors"] == {"fp16": 0.8, "int8": 0.2}, "shapes and tensors without a type are left out"


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.float32, "fp32"), (np.float16, "fp16"), (ml_dtypes.bfloat16, "bf16")], ids=str
)
def test_a_convolution_of_each_type(dtype: np.typing.DTypeLike, name: str) -> None:
    weight = onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 1), dtype), "weight")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Conv", ["x", "weight"], ["y"])], "g", [], [], [weight])
    assert file_shares(onnx.helper.make_model(graph))["compute"] == {name: 1.0}


def test_compute_layers_of_a_tf32_engine_count_as_tf32() -> None:
    shares = as_tf32(inspector_shares([layer("conv", "Float", "Float"), layer("gemm", "Half", "Float")]))
    assert shares["compute"] == {"tf32": 0.5, "fp16": 0.5}
    assert shares["tensors"] == {"fp32": 1.0}, "tensors keep all their bits"


@pytest.mark.parametrize(
    ("compute", "precision", "fulfilled"),
    [
        ({"fp32": 1.0}, "fp32", True),
        ({"fp32": 1.0}, "fp16", False),
        ({"tf32": 1.0}, "tf32", True),
        ({"tf32": 1.0}, "fp32", False),
        ({"fp32": 1.0}, "tf32", False),
        ({"fp16": 0.95, "fp32": 0.05}, "fp16", True),
        ({"fp16": 0.6, "fp32": 0.4}, "fp16", False),
        ({"int8": 0.7, "fp16": 0.3}, "int8", True),
        ({}, "fp32", False),
    ],
)
def test_enough_compute_layers(compute: dict[str, float], precision: str, fulfilled: bool) -> None:
    refused = pytest.raises(PrecisionNotMetError, match=rf"a\.onnx: {precision} was asked for, but only \d+% of")
    with nullcontext() if fulfilled else refused:
        require_met({"compute": compute, "layers": {}, "tensors": {}}, precision, Path("a.onnx"))
