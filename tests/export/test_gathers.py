"""Gathers are rewritten where the result is the same bit for bit, and left alone elsewhere."""

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnxscript.optimizer import remove_unused_nodes

from export.gathers import simplify_gathers

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
ROWS = """rows (float[B,9,{width}] data, int64[B,5] index) => (float[B,5,{gathered}] y)
<int64[1] two = {{2}}, int64[3] shape = {{1, 1, {gathered}}}, int64[B,5,1] narrow, int64[B,5,{gathered}] wide> {{
    narrow = Unsqueeze (index, two)
    wide = Expand (narrow, shape)
    y = GatherElements <axis: int = {axis}> (data, wide)
}}"""
FIRST_AXIS = """first (float[9,4] data, int64[B,5] index) => (float[B,5,4] y)
<int64[1] last = {{{axis}}}, int64[B,5,1] wide> {{
    wide = Unsqueeze (index, last)
    y = GatherND (data, wide)
}}"""
NARROW = """narrow (float[B,9] data, int32[B,5] index) => (float[B,5] y)
<int64[B,5] wide> {{
    wide = Cast <to: int = 7> (index)
    y = {gather} (data, wide)
}}"""
ONLY = """only (float[B,{places},7] data) => (float[B,7] y)
<int64 index = {{0}}> {{
    y = Gather <axis: int = 1> (data, index)
}}"""


def simplified(text: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A graph before and after."""
    before = onnx.parser.parse_model(HEAD + text)
    model = ir.from_proto(before)
    simplify_gathers(model.graph)
    remove_unused_nodes(model)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    return before, after


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.op_type != "Constant"]


def run(model: onnx.ModelProto) -> NDArray[Any]:
    """The graph on two rows of every kind."""
    random = np.random.default_rng(0)
    feed = {}
    for value in model.graph.input:
        shape = [size.dim_value or 2 for size in value.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        numbers = random.standard_normal(shape) if kind == np.float32 else random.integers(0, 9, shape)
        feed[value.name] = numbers.astype(kind)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ROWS.format(width=4, gathered=4, axis=1), ["Unsqueeze", "GatherND"]),
        (FIRST_AXIS.format(axis=-1), ["Gather"]),
        (FIRST_AXIS.format(axis=2), ["Gather"]),
        (NARROW.format(gather="GatherElements <axis: int = 1>"), ["GatherElements"]),
        (ONLY.format(places=1), ["Squeeze"]),
    ],
)
def test_the_same_values_of_fewer_nodes(text: str, expected: list[str]) -> None:
    before, after = simplified(text)
    assert operators(after) == expected
    assert len(expected) <= len(operators(before))
    assert np.array_equal(run(before), run(after))


@pytest.mark.parametrize(
    "text",
    [
        # Of rows of 6 numbers 4 are read; of another axis, other numbers.
        ROWS.format(width=6, gathered=4, axis=1),
        ROWS.format(width=9, gathered=4, axis=2).replace("[B,9,9]", "[B,5,9]"),
        ONLY.format(places=3),
        # GatherND takes 64 bits alone.
        NARROW.format(gather="GatherND")
        .replace("float[B,9]", "float[9,9,9,9,9]")
        .replace("float[B,5] y", "float[B] y"),
    ],
)
def test_what_would_read_others_stays(text: str) -> None:
    before, after = simplified(text)
    assert operators(after) == operators(before)


def test_an_index_of_32_bits_needs_no_cast() -> None:
    text = NARROW.format(gather="Gather").replace("float[B,9] data", "float[9] data")
    before, after = simplified(text)
    assert operators(after) == ["Gather"]
    assert np.array_equal(run(before), run(after))
