"""What the mask head saves exactly (one class, convolutions before the upsampling, no copies) survives the export."""

import re
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from onnx_ir import DataType
from torch import nn

from export.model import BOUNDARY, to_onnx
from refinemask.contract import Bounds
from refinemask.modeling.exported import ExportedDetector
from tests.support.tiny_detector import TINY, make_tiny_detector
from tests.support.tiny_families import make_tiny_family

WIDTHS = [TINY.fpn_channels >> stage for stage in range(3)]


@pytest.fixture(scope="module")
def graph(tiny_files: tuple[Path, Path]) -> ir.Graph:
    return ir.load(tiny_files[1]).graph


def nodes(graph: ir.Graph, kind: str) -> Iterator[ir.Node]:
    return (node for node in graph if node.op_type == kind)


def shape(value: ir.Value | None) -> list[int | str]:
    """Sizes, symbolic ones as text."""
    assert value is not None
    assert value.shape is not None, f"{value.name} has no shape"
    return [size if isinstance(size, int) else str(size) for size in value.shape]


def test_every_value_has_a_type_and_a_shape(graph: ir.Graph) -> None:
    """Also those at the boundaries of stages, which are outputs while the graph is made."""
    values = [value for node in graph for value in node.outputs]
    assert any((value.name or "").startswith(BOUNDARY) for value in values)
    assert [value.name for value in values if value.dtype is None or value.shape is None] == []


def test_only_the_predicted_class_is_computed(graph: ir.Graph) -> None:
    classes = TINY.num_classes
    for width in (*WIDTHS, WIDTHS[-1] // 2):
        (weight,) = (
            v for v in graph.initializers.values() if v.shape == (classes, width) and "box_head" not in str(v.name)
        )
        assert {node.op_type for node in weight.consumers()} <= {"LabelLogits", "UpsampledLabelLogits"}


def test_no_relu_after_upsampling_and_no_resize_to_the_same_size(graph: ir.Graph) -> None:
    resizes = list(nodes(graph, "Resize"))
    assert resizes
    for resize in resizes:
        assert "Relu" not in {node.op_type for node in resize.outputs[0].consumers()}
        assert shape(resize.inputs[0])[2:] != shape(resize.outputs[0])[2:]


def test_features_are_projected_before_upsampling(graph: ir.Graph) -> None:
    """No map at 112 has more channels than the two masks: the upsampled features never exist there."""
    full = [shape(out) for node in graph for out in node.outputs if out.shape and 112 in shape(out)[2:]]
    assert full
    assert max(size[1] for size in full if len(size) == 4 and size[-2:] == [112, 112] and size[0] != "batch") == 2


def test_masks_are_upsampled_channel_by_channel(graph: ir.Graph) -> None:
    places = "coordinate_transformation_mode"
    masks = [node for node in nodes(graph, "Resize") if node.attributes.get_string(places) == "align_corners"]
    assert [shape(node.outputs[0])[1:] for node in masks] == [[1, 28, 28], [1, 56, 56], [1, 112, 112]]


def test_what_is_upsampled_comes_first_in_the_sum_of_a_stage(graph: ir.Graph) -> None:
    """Each of the two sums then adds a convolution to what is there, which runtimes do within the convolution."""
    sums = [node for node in nodes(graph, "Add") if re.fullmatch(r"mask_head\.stages\.\d/Add(_\d)?", str(node.name))]
    assert len(sums) == 6
    assert all(node.inputs[1].producer().op_type == "Conv" for node in sums)  # type: ignore[union-attr]


def test_fuse_convolution_is_split(graph: ir.Graph) -> None:
    """Features and masks are never concatenated to 2c + 2 channels."""
    joined = {shape(node.outputs[0])[1] for node in nodes(graph, "Concat") if len(shape(node.outputs[0])) == 4}
    assert not joined & {2 * width + 2 for width in WIDTHS}


def test_one_convolution_reads_the_semantic_map_for_all_stages(graph: ir.Graph) -> None:
    merged = [node for node in nodes(graph, "Conv") if shape(node.inputs[1])[:2] == [sum(WIDTHS), WIDTHS[0]]]
    assert len(merged) == 1


def test_stages_pool_their_channels_of_the_joint_map_in_place(graph: ir.Graph) -> None:
    (joint,) = (node for node in nodes(graph, "Conv") if shape(node.inputs[1])[:2] == [sum(WIDTHS), WIDTHS[0]])
    (relu,) = joint.outputs[0].consumers()
    readers = list(relu.outputs[0].consumers())
    assert {reader.op_type for reader in readers} == {"MultilevelRoIAlign1"}
    begins, channels = (
        [reader.attributes[name].as_int() for reader in readers] for name in ("channel_begin", "channels")
    )
    assert begins == [sum(WIDTHS[:stage]) for stage in range(3)]
    assert channels == WIDTHS
    assert [shape(reader.outputs[0])[1] for reader in readers] == WIDTHS


@pytest.mark.slow
def test_the_simple_head_pads_the_joint_map_once_and_pools_in_place() -> None:
    bounds = Bounds(batch=(1, 1, 1), height=(64,) * 3, width=(96,) * 3)
    graph = to_onnx(make_tiny_family("simple RefineMask"), bounds).graph
    assert not list(nodes(graph, "Split"))
    joint = [node for node in nodes(graph, "MultilevelRoIAlign1") if node.attributes["channels"].as_int()]
    assert len(joint) == 3
    assert len({node.inputs[0] for node in joint}) == 1


def test_masks_are_not_padded_where_all_are_computed(graph: ir.Graph) -> None:
    (masks,) = (value for value in graph.outputs if value.name == "masks")
    producer = masks.producer()
    assert producer is not None
    assert producer.op_type == "Reshape"


def test_indices_are_divided_by_one_operator(graph: ir.Graph) -> None:
    """Not by the chain that rounds negative numbers down."""
    outputs = [node.outputs[0] for node in nodes(graph, "Div")]
    quotients = [value for value in outputs if value.dtype == DataType.INT64 and len(shape(value)) == 2]
    assert len(quotients) == 2
    for quotient in quotients:
        assert "Sub" not in {reader.op_type for reader in quotient.consumers()}


def test_an_index_for_every_number_of_a_row_is_nowhere_made(graph: ir.Graph) -> None:
    for node in nodes(graph, "Expand"):
        assert not {reader.op_type for reader in node.outputs[0].consumers()} & {"Gather", "GatherElements", "GatherND"}
    indices = [node.inputs[1] for node in nodes(graph, "GatherElements")]
    narrow = [index for index in indices if index is not None and index.dtype == DataType.INT32]
    assert narrow, "indices of FixedNMS are read as they are"


def test_weights_are_constants_and_norms_are_folded(graph: ir.Graph) -> None:
    for kind in ("Conv", "ConvTranspose", "Gemm"):
        for node in nodes(graph, kind):
            assert all(value is not None and value.is_initializer() for value in node.inputs[1:]), node.name
    assert not list(nodes(graph, "BatchNormalization"))


def test_folding_leaves_the_detector_alone() -> None:
    detector = make_tiny_detector()
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    exported = ExportedDetector(detector)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in exported.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in detector.modules())
    for key, value in detector.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
