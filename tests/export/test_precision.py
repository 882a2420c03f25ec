"""Typed exports: reduced precision where it was asked for, float32 where it must stay."""

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from onnx_ir import DataType

from export.model import to_onnx
from export.verify import onnx_runner, torch_runner
from refinemask.agreement import PARITY, Comparison, passes, verification_images, verify
from refinemask.contract import DOMAIN, Bounds
from refinemask.modeling.detector import Detector
from refinemask.widened import widen
from tests.support.tiny_detector import make_tiny_detector

PHOTOS = Path(__file__).resolve().parents[2] / "demo" / "photos"
STATIC = Bounds(batch=(1, 1, 1), height=(64, 64, 64), width=(128, 128, 128))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return make_tiny_detector()


def types(model: ir.Model, *kinds: str) -> set[DataType | None]:
    return {node.outputs[0].dtype for node in model.graph if node.op_type in kinds}


def run_both(model: Path | bytes, detector: Detector) -> Comparison:
    """The file in ONNX Runtime beside PyTorch in float32, on one photograph."""
    runners = onnx_runner(model), torch_runner(detector)
    (found,) = verify(*runners, detector.config.preprocessing, STATIC, verification_images(PHOTOS))
    return found


def assert_typed(model: ir.Model, dtype: DataType) -> None:
    assert types(model, "Conv", "Gemm", "MatMul", "MultilevelRoIAlign1", "MultilevelRoIAlign4") == {dtype}
    assert types(model, "TopK", "Softmax", "Sigmoid", "Exp", "BoundaryMerge", "LabelLogits") == {DataType.FLOAT}
    assert {value.dtype for value in model.graph.outputs} == {DataType.FLOAT, DataType.INT64}
    for node in model.graph:
        if node.domain == DOMAIN and node.op_type.startswith(("MultilevelRoIAlign", "FixedNMS")):
            boxes = node.inputs[0 if node.op_type == "FixedNMS" else -1]
            assert boxes is not None
            assert boxes.dtype == DataType.FLOAT, "half precision is 1 px coarse above 1024"


def test_fp16(detector: Detector, tmp_path: Path) -> None:
    model, path = to_onnx(detector, STATIC, precision="fp16"), tmp_path / "fp16.onnx"
    assert_typed(model, DataType.FLOAT16)
    ir.save(model, path)
    onnx.checker.check_model(path, full_check=True)
    assert passes([run_both(path, detector)], PARITY["fp16"])


@pytest.mark.slow
def test_bf16(detector: Detector, tmp_path: Path) -> None:
    model, path = to_onnx(detector, STATIC, precision="bf16"), tmp_path / "bf16.onnx"
    assert_typed(model, DataType.BFLOAT16)
    assert model.opset_imports[""] == 22
    ir.save(model, path)
    onnx.checker.check_model(path, full_check=True)
    found = run_both(widen(ir.to_proto(model)).SerializeToString(), detector)
    assert found.unmatched == 0
    assert len(found.boxes) > 0
    assert found.boxes.max() < PARITY["bf16"].boxes
