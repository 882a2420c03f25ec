"""Faults put into a file, each of which the verification finds in the stage that it is in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx_ir as ir
import pytest

from export.stages import verify_stages
from export.verified_export import export_onnx
from export.verify import observed_runner
from refinemask.agreement import StageCheck, verification_images
from refinemask.bundled import PHOTOS
from refinemask.contract import OUTPUTS, Bounds
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import Precision
from refinemask.weights import load_detector, save_detector
from tests.support.tiny_families import MASK_HEADS, make_tiny_family

STAGES = ["RPN logits", "RPN deltas", "class logits", "box deltas", "proposals", "detections", "masks"]
BATCHES = Bounds(batch=(2, 2, 3), height=(64, 64, 64), width=(128, 128, 128))
Fault = Callable[[ir.Graph], None]


@pytest.fixture(scope="module")
def detector(tiny_files: tuple[Path, Path]) -> Detector:
    return load_detector(tiny_files[0])


def judge(path: Path, detector: Detector) -> list[StageCheck]:
    images = verification_images(PHOTOS)
    return verify_stages(observed_runner(path, path), detector, "fp32", BATCHES, images)[0]


def weights(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """A layer with other weights."""

    def put(graph: ir.Graph) -> None:
        value = graph.initializers[f"detector.{name}"]
        assert value.const_value is not None
        value.const_value = ir.tensor(change(value.const_value.numpy()), name=value.name)

    return put


def rpn_outputs(first: int) -> Fault:
    """Output channel ``first`` of the RPN's joint predictor exchanged with the next one."""

    def put(graph: ir.Graph) -> None:
        (select,) = (node for node in graph if node.op_type == "SelectProposals")
        joint = select.inputs[0]
        conv = joint.producer() if joint is not None else None
        assert conv is not None
        value = conv.inputs[1]
        assert value is not None
        assert value.const_value is not None
        weight = value.const_value.numpy().copy()
        weight[[first, first + 1]] = weight[[first + 1, first]]
        value.const_value = ir.tensor(weight, name=value.name)

    return put


def swapped_channels(weight: np.ndarray) -> np.ndarray:
    """The first two output channels exchanged."""
    return np.concatenate([weight[1::-1], weight[2:]])


def threshold(place: int, change: float) -> Fault:
    """Another threshold of the suppression of proposals (0) or of detections (1)."""

    def put(graph: ir.Graph) -> None:
        node = [node for node in graph if node.op_type == "FixedNMS"][place]
        value = node.attributes["iou_threshold"].as_float() + change
        node.attributes.add(ir.AttrFloat32("iou_threshold", value))

    return put


def first_image_only(place: int) -> Fault:
    """RoIs that are all pooled from the first image of a batch."""

    def put(graph: ir.Graph) -> None:
        node = [node for node in graph if node.op_type == "MultilevelRoIAlign4"][place]
        replace_input(graph, node, len(node.inputs) - 1, "Mul", [1, 5], np.array([[0, 1, 1, 1, 1]], np.float32))

    return put


def replace_input(graph: ir.Graph, node: ir.Node, index: int, kind: str, shape: Sequence[int], by: np.ndarray) -> None:
    """Put an operation with a constant before an input."""
    constant = ir.Value(name="fault", shape=ir.Shape(shape), const_value=ir.tensor(by, name="fault"))
    graph.initializers["fault"] = constant
    operation = ir.node(kind, [node.inputs[index], constant])
    operation.outputs[0].name = "faulty"
    graph.insert_before(node, operation)
    node.replace_input_with(index, operation.outputs[0])


def plain_deltas(graph: ir.Graph) -> None:
    """Deltas of the box head that are not multiplied by their standard deviations."""
    std = np.array([0.1, 0.1, 0.2, 0.2], np.float32)
    found = [
        value
        for value in graph.initializers.values()
        if value.const_value is not None and np.array_equal(value.const_value.numpy().ravel(), std)
    ]
    for value in found:
        assert value.const_value is not None
        value.const_value = ir.tensor(np.ones_like(value.const_value.numpy()), name=value.name)
    assert found


def reversed_output(name: str) -> Fault:
    """An output whose images are in the reverse order."""

    def put(graph: ir.Graph) -> None:
        place = OUTPUTS.index(name)
        old = graph.outputs[place]
        end, start = (
            ir.Value(name=n, shape=ir.Shape([1]), const_value=ir.tensor(np.array([v]), name=n))
            for n, v in (("end", -(2**31)), ("start", -1))
        )
        axis = ir.Value(name="axis", shape=ir.Shape([1]), const_value=ir.tensor(np.array([0]), name="axis"))
        for value in (end, start, axis):
            graph.initializers[str(value.name)] = value
        node = ir.node("Slice", [old, start, end, axis, start])
        old.name, node.outputs[0].name = f"{name}.before", name
        node.outputs[0].type, node.outputs[0].shape = old.type, old.shape
        graph.append(node)
        graph.outputs[place] = node.outputs[0]

    return put


FAULTS: dict[str, tuple[Fault, str]] = {
    "a convolution of the backbone": (weights("backbone.layer3.0.conv2.weight", lambda w: w * 1.2), "RPN logits"),
    "a lateral convolution": (weights("fpn.lateral_convs.1.weight", swapped_channels), "RPN logits"),
    "channels of objectness": (rpn_outputs(0), "RPN logits"),
    "channels of the RPN's deltas": (rpn_outputs(3), "RPN deltas"),
    "proposals' threshold": (threshold(0, -0.1), "proposals"),
    "proposals' higher threshold": (threshold(0, 0.1), "proposals"),
    "pooling for boxes": (first_image_only(0), "class logits"),
    "a layer of the box head": (weights("box_head.fc1.weight", lambda w: w * 1.05), "class logits"),
    "classes": (weights("box_head.cls_logits.weight", swapped_channels), "class logits"),
    "deltas of boxes": (weights("box_head.bbox_deltas.weight", lambda w: -w), "box deltas"),
    "standard deviations": (plain_deltas, "detections"),
    "detections' threshold": (threshold(1, -0.1), "detections"),
    "boxes of another image": (reversed_output("boxes"), "detections"),
    "labels of another image": (reversed_output("labels"), "detections"),
    "pooling for masks": (first_image_only(1), "masks"),
    "a layer of the mask head": (weights("mask_head.stages.1.fusion.merge.weight", lambda w: -w), "masks"),
    "channels of a mask stage": (weights("mask_head.stages.0.transform_out.weight", swapped_channels), "masks"),
    "masks of another image": (reversed_output("masks"), "masks"),
}
"""Something wrong in a file, and the first stage that shows it."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_in_its_stage(
    name: str, tiny_files: tuple[Path, Path], detector: Detector, tmp_path: Path
) -> None:
    put, stage = FAULTS[name]
    model = ir.load(tiny_files[1])
    put(model.graph)
    ir.save(model, tmp_path / "faulty.onnx")
    found = judge(tmp_path / "faulty.onnx", detector)
    assert next((check.stage for check in found if check.fault), None) == stage


@pytest.mark.slow  # An export each.
@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("family", MASK_HEADS)
def test_every_family_in_every_precision(family: str, precision: Precision, tmp_path: Path) -> None:
    """Random weights without a threshold: scores are full of near-ties, which roundings decide."""
    detector = make_tiny_family(family)
    detector.config = replace(detector.config, box_head=replace(detector.config.box_head, score_threshold=0.0))
    save_detector(detector, tmp_path / "tiny.safetensors", recipe="tiny")
    bounds = Bounds(batch=(1, 1, 2), height=(64, 64, 64), width=(128, 128, 128))
    output = tmp_path / "tiny.onnx"
    report = export_onnx(
        tmp_path / "tiny.safetensors", output, bounds=bounds, precision=precision, verify_images=PHOTOS
    )
    assert {check.stage for check in report.stages} >= set(STAGES)


def test_a_right_file_has_no_fault(tiny_files: tuple[Path, Path], detector: Detector) -> None:
    found = judge(tiny_files[1], detector)
    assert list(dict.fromkeys(check.stage for check in found)) == STAGES
    assert [check for check in found if check.fault] == []
    assert all(check.compared for check in found)
