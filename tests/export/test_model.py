"""The graph of an exported file: its contract, its operators and its operator sets."""

import json
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest
from onnx_ir import DataType

from export.model import to_onnx
from export.verify import onnx_runner, torch_runner
from refinemask import __version__
from refinemask.agreement import PARITY, passes, verification_images, verify
from refinemask.bundled import PHOTOS
from refinemask.config import ModelConfig
from refinemask.config_json import from_json
from refinemask.contract import DOMAIN, PLUGIN_ATTRIBUTES, Bounds, Limits
from tests.support.tiny_detector import TINY, make_tiny_detector

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


def test_metadata(model: ir.Model) -> None:
    properties = model.metadata_props
    assert from_json(ModelConfig, properties["config"]) == TINY
    assert json.loads(properties["bounds"]) == {"batch": [1, 1, 8], "height": [32, 64, 128], "width": [32, 128, 128]}
    assert {name: properties[name] for name in ("precision", "masks", "exporter")} == {
        "precision": "fp32",
        "masks": "all",
        "exporter": __version__,
    }


def test_custom_operators(model: ir.Model) -> None:
    nodes = [node for node in model.graph if node.domain == DOMAIN]
    counts = {name: sum(node.op_type == name for node in nodes) for name in {node.op_type for node in nodes}}
    assert counts == {
        "MultilevelRoIAlign4": 2,
        "MultilevelRoIAlign1": 6,
        "FixedNMS": 2,
        "BoundaryMerge": 2,
        "SelectProposals": 1,
        "TopScores": 2,
        "LabelLogits": 1,
        "UpsampledLabelLogits": 3,
    }
    for node in nodes:
        assert {name: node.attributes[name].as_string() for name in PLUGIN_ATTRIBUTES} == PLUGIN_ATTRIBUTES
    assert {function.name for function in model.functions.values()} == set(counts)
    assert {function.opset_imports[""] for function in model.functions.values()} == {model.opset_imports[""]} == {20}


def test_selection_has_nodes_of_its_own_alone(model: ir.Model) -> None:
    """No top-k along a long axis, no anchors, and one convolution of each level for both of RPN's predictors."""
    kinds = [node.op_type for node in model.graph]
    assert not {"TopK", "Floor", "Sign"} & {*kinds}
    predictors = [node for node in model.graph if (node.name or "").startswith("rpn/Conv")]
    assert len(predictors) == 5
    (selection,) = (node for node in model.graph if node.op_type == "SelectProposals")
    assert [value.producer() for value in selection.inputs[:5] if value is not None] == predictors
    base = selection.inputs[5]
    assert base is not None
    assert base.is_initializer()


def test_no_trace_of_the_machine(tiny_files: tuple[Path, Path]) -> None:
    data = tiny_files[1].read_bytes()
    assert str(Path.home()).encode() not in data
    assert str(Path(__file__).parents[2]).encode() not in data
    assert b"site-packages" not in data


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
