"""In which types an engine computes, from the records of TensorRT's inspector."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from engines.trt.precision import PrecisionNotMetError, as_tf32, inspector_shares, require_met


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
