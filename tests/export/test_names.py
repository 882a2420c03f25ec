"""Names of nodes: by module, the same whatever the precision or what is dynamic."""

import onnx_ir as ir

from export.model import to_onnx
from export.names import SCOPES, name_by_module
from export.qdq import layers
from refinemask.contract import Bounds
from tests.support.tiny_detector import make_tiny_detector

STATIC = Bounds(batch=(1, 1, 1), height=(64, 64, 64), width=(96, 96, 96))


def test_repeated_and_unnoted_nodes() -> None:
    nodes = [ir.node("Relu", []) for _ in range(4)]
    nodes[0].metadata_props[SCOPES] = "['', 'detector', 'detector.neck', 'relu']"
    nodes[1].metadata_props[SCOPES] = "['', 'detector', 'detector.neck', 'relu_1']"
    nodes[2].metadata_props[SCOPES] = "['', 'detector', 'relu_2']"
    graph = ir.Graph([], [], nodes=nodes)
    name_by_module(graph, "detector")
    assert [node.name for node in graph] == ["neck/Relu", "neck/Relu_2", "Relu", "Relu_2"]


def test_a_static_fp16_file_names_its_layers_as_the_dynamic_fp32_one(tiny_files: tuple) -> None:
    graph = ir.load(tiny_files[1]).graph
    names = [node.name for node in graph]
    assert len(names) == len(set(names))
    assert list(layers(graph))[:2] == ["backbone.conv1/Conv", "backbone.layer1.0.conv1/Conv"]
    assert [name for name in layers(graph) if "/" not in name] == [], "recorded ranges go by the module's name"
    static = to_onnx(make_tiny_detector(), STATIC, precision="fp16").graph
    assert set(layers(static)) == set(layers(graph))
