"""Bytes that nodes move, by hand."""

import onnx
import onnx.parser
import pytest

from benchmarks.harness.graph_bytes import longest_top_k, moved_bytes

TEXT = """
<ir_version: 10, opset_import: ["" : 20, "refinemask" : 1]>
graph (float16[1,8,4,6] x, float[3,5] rois) => (float[3,2,7,7] y, float[1,5] best)
<float16[8,8,1,1] weight = {WEIGHT}, int64[1] five = {5}, int64[2] flat = {1, 192},
 float16[1,8,4,6] convolved, float16[3,2,7,7] pooled, float16[1,192] row, float[1,192] wide, int64[1,5] index,
 float[1,5] again>
{
    convolved = Conv (x, weight)
    pooled = refinemask.MultilevelRoIAlign1 <channel_begin: int = 4, channels: int = 2> (convolved, rois)
    y = Cast <to: int = 1> (pooled)
    row = Reshape (convolved, flat)
    wide = Cast <to: int = 1> (row)
    again, index = TopK <axis: int = 1> (wide, five)
    best = GatherElements <axis: int = 1> (wide, index)
}
""".replace("WEIGHT", ", ".join(["1"] * 64))


@pytest.fixture
def graph() -> onnx.GraphProto:
    return onnx.parser.parse_model(TEXT).graph


def test_by_hand(graph: onnx.GraphProto) -> None:
    feature, pooled, row, best = 8 * 4 * 6 * 2, 3 * 2 * 49 * 2, 192 * 4, 5 * 4
    assert moved_bytes(graph) == {
        # Without its weights.
        "Conv": 2 * feature,
        # Two of the eight channels.
        "MultilevelRoIAlign1": feature // 4 + 3 * 5 * 4 + pooled,
        "Cast": pooled + 2 * pooled + row // 2 + row,
        "TopK": row + best + 5 * 8,
        # As much of the row as it takes.
        "GatherElements": best + 5 * 8 + best,
    }
    assert longest_top_k(graph) == 192


def test_most_bytes_come_first(graph: onnx.GraphProto) -> None:
    counts = list((moved_bytes(graph) or {}).values())
    assert len(counts) == 5
    assert counts == sorted(counts, reverse=True)


def test_sizes_that_are_not_fixed_are_not_counted(graph: onnx.GraphProto) -> None:
    for value in graph.value_info:
        if value.name == "wide":
            value.type.tensor_type.shape.dim[1].dim_param = "n"
    assert moved_bytes(graph) is None
    assert longest_top_k(graph) is None


def test_a_graph_without_top_k_has_no_longest_axis(graph: onnx.GraphProto) -> None:
    del graph.node[5:]
    assert longest_top_k(graph) is None
