"""The command line of the exporter, and the file it writes."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from onnx_ir import DataType

import export.to_onnx
from export.model import to_onnx
from export.to_onnx import Args, main
from export.verify import PARITY, onnx_runner, passes, torch_runner, verification_images, verify
from refinemask.config import ModelConfig, from_json
from refinemask.contract import DOMAIN, PLUGIN_ATTRIBUTES, Bounds, Limits
from refinemask.files import sha256
from tests.support.tiny_detector import TINY, make_tiny_detector

PHOTOS = Path(__file__).resolve().parents[2] / "demo" / "photos"
STATIC = Bounds(batch=(1, 1, 1), height=(64, 64, 64), width=(96, 96, 96))


@pytest.fixture(scope="module")
def model(tiny_files: tuple[Path, Path]) -> ir.Model:
    return ir.load(tiny_files[1])


def test_contract(model: ir.Model) -> None:
    inputs = {value.name: (value.dtype, list(map(str, value.shape or ()))) for value in model.graph.inputs}
    assert inputs == {
        "images": (DataType.UINT8, ["batch", "3", "32*height", "32*width"]),
        "image_sizes": (DataType.INT64, ["batch", "2"]),
    }
    outputs = {value.name: (value.dtype, list(map(str, value.shape or ()))) for value in model.graph.outputs}
    assert outputs == {
        "boxes": (DataType.FLOAT, ["batch", "12", "4"]),
        "scores": (DataType.FLOAT, ["batch", "12"]),
        "labels": (DataType.INT64, ["batch", "12"]),
        "num_detections": (DataType.INT64, ["batch"]),
        "masks": (DataType.FLOAT, ["batch", "12", "112", "112"]),
    }


def test_metadata(model: ir.Model, tiny_files: tuple[Path, Path]) -> None:
    metadata = dict(model.metadata_props)
    assert from_json(ModelConfig, metadata["config"]) == TINY
    assert json.loads(metadata["bounds"]) == {"batch": [1, 1, 8], "height": [32, 64, 128], "width": [32, 128, 128]}
    assert metadata["source_sha256"] == sha256(tiny_files[0])
    assert metadata["recipe"] == "tiny"
    assert metadata["precision"] == "fp32"


def test_custom_operators(model: ir.Model) -> None:
    nodes = [node for node in model.graph if node.domain == DOMAIN]
    counts = {name: sum(node.op_type == name for node in nodes) for name in {node.op_type for node in nodes}}
    assert counts == {"MultilevelRoIAlign4": 2, "MultilevelRoIAlign1": 6, "FixedNMS": 2, "BoundaryMerge": 2}
    for node in nodes:
        assert {name: node.attributes[name].as_string() for name in PLUGIN_ATTRIBUTES} == PLUGIN_ATTRIBUTES
    assert {function.name for function in model.functions.values()} == set(counts)
    assert {function.opset_imports[""] for function in model.functions.values()} == {model.opset_imports[""]} == {20}


def test_no_trace_of_the_machine(tiny_files: tuple[Path, Path]) -> None:
    data = tiny_files[1].read_bytes()
    assert str(Path.home()).encode() not in data
    assert str(Path(__file__).parents[2]).encode() not in data
    assert b"site-packages" not in data


@pytest.fixture
def ready_made(tiny_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> ir.Model:
    """The tiny model, handed out in place of a new export."""
    model = ir.load(tiny_files[1])
    monkeypatch.setattr(export.to_onnx, "to_onnx", lambda *_, **__: model)
    return model


def test_masks_may_be_asked_to_agree_more_or_less(
    tiny_files: tuple[Path, Path], ready_made: ir.Model, tmp_path: Path
) -> None:
    args = Args(checkpoint=tiny_files[0], output=tmp_path / "tiny.onnx", verify_images=PHOTOS)
    assert main(replace(args, mask_iou=1.1)) == 1
    assert main(replace(args, mask_iou=0.98)) == 0


def test_mismatch_leaves_no_file(
    tiny_files: tuple[Path, Path], ready_made: ir.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weight = ready_made.graph.initializers["detector.box_head.bbox_deltas.weight"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() + 0.1, name=weight.name)
    args = Args(checkpoint=tiny_files[0], output=tmp_path / "tiny.onnx", verify_images=PHOTOS)
    assert main(args) == 1
    assert "does not agree with PyTorch" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_bodies(tiny_files: tuple[Path, Path], ready_made: ir.Model, tmp_path: Path) -> None:
    output = tmp_path / "tiny.onnx"
    assert main(Args(checkpoint=tiny_files[0], output=output, verify_images=PHOTOS, bodies=False)) == 0
    assert not ir.load(output).functions
    onnx.checker.check_model(output)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"static": "64x64", "max": "96x96"}, "leave out"),
        ({"static": "64"}, "HEIGHTxWIDTH"),
        ({"static": "60x64"}, "multiples of 32"),
        ({"opt": "256x256"}, "smallest <= typical <= largest"),
        ({"batch": (1, 4)}, "one number, or"),
        ({"batch": (0,)}, "1 <= smallest"),
        ({"masks": "found", "precision": "bf16"}, "--masks found with --precision bf16"),
        ({"masks": "found", "bodies": False}, "--masks found with --no-bodies"),
        ({"opset": 0}, "--opset 0 with --precision fp32: expected 18 to 21"),
        ({"opset": 17}, "expected 18 to 21"),
        ({"opset": 22}, "expected 18 to 21"),
        ({"opset": 99, "precision": "fp16"}, "expected 18 to 21"),
        ({"opset": 21, "precision": "bf16"}, "--opset 21 with --precision bf16: expected 22 to 24"),
        ({"verify_images": Path("nowhere")}, "no pictures"),
        ({"checkpoint": Path("nowhere.safetensors")}, "no such file"),
    ],
)
def test_wrong_input(
    options: dict, message: str, tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tiny.onnx"
    assert main(Args(**{"checkpoint": tiny_files[0], "output": output, "verify_images": PHOTOS} | options)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not output.exists()


@pytest.mark.parametrize(("batch", "batches"), [((4, 4, 4), {4}), ((3, 4, 8), {3, 4})])
def test_batches_above_two(batch: Limits, batches: set[int]) -> None:
    detector, bounds = make_tiny_detector(), replace(STATIC, batch=batch)
    file = onnx_runner(ir.to_proto(to_onnx(detector, bounds)).SerializeToString())
    images = verification_images(PHOTOS)
    found = verify(file, torch_runner(detector), detector.config.preprocessing, bounds, images)
    assert {comparison.shape[0] for comparison in found} == batches
    assert passes(found, PARITY["fp32"])
    assert all(len(comparison.boxes) for comparison in found)


@pytest.mark.parametrize("opset", [18, 21])
def test_oldest_and_newest_operator_set(opset: int) -> None:
    detector, model = make_tiny_detector(), to_onnx(make_tiny_detector(), STATIC, opset=opset)
    assert model.opset_imports[""] == opset
    file = onnx_runner(ir.to_proto(model).SerializeToString())
    images = verification_images(PHOTOS)
    assert passes(verify(file, torch_runner(detector), TINY.preprocessing, STATIC, images), PARITY["fp32"])


@pytest.mark.slow
def test_same_bytes_every_time() -> None:
    first, second = (ir.to_proto(to_onnx(make_tiny_detector(), STATIC)).SerializeToString() for _ in range(2))
    assert first == second
