"""Rows that are joined and picked before they are rounded, rounded first.

RoIAlign pools each level by itself. Its results are joined (Concat), put in order (Gather) and shaped, and only then
rounded for the layer that reads them. Those operators only move values. Rounded first, they move bytes in the place of
float32.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import onnx
import onnx.shape_inference

from engines.quantised.layers import Wiring, is_operator

MOVING = ("Gather", "Reshape")
"""Operators that move the values of their first input."""
CASTS = ("Cast", "CastLike")
"""Operators that do nothing where their input has the type of their output."""


def round_before_joining(model: onnx.ModelProto) -> list[str]:
    """Move the rounding of picked rows of a Concat before the Concat, in place; the numbers stay the same.

    Nothing moves where something else reads a value on the way, or where one is not known to be float32.

    Args:
        model: a model without functions, its codes written by :func:`engines.quantised.codes.write_unsigned`.

    Returns:
        Names of the tensors of codes that are made earlier.
    """
    graph = model.graph
    wiring, outputs = Wiring(graph), {value.name for value in graph.output}
    ways = {node.output[0]: _way(node, wiring, outputs) for node in graph.node if _rounds_to_uint8(node, wiring)}
    if any(ways.values()):
        # What is written down of codes is out of date, and would mislead.
        del graph.value_info[:]
        types = _types(model)
        ways = {codes: way for codes, way in ways.items() if way and _in_float32(way, types)}
    moved = [codes for codes, way in ways.items() if way]
    for codes in moved:
        _move(graph, wiring.producers[codes], ways[codes])
    return moved


def _rounds_to_uint8(node: onnx.NodeProto, wiring: Wiring) -> bool:
    """Whether a node rounds a whole tensor by one scale."""
    if not is_operator(node, "QuantizeLinear") or len(node.input) < 3:
        return False
    scale, zero = (wiring.constant(name) for name in node.input[1:3])
    return scale is not None and scale.ndim == 0 and zero is not None and zero.ndim == 0 and zero.dtype == np.uint8


def _way(quantize: onnx.NodeProto, wiring: Wiring, outputs: set[str]) -> list[onnx.NodeProto]:
    """The nodes from a Concat, whose rows are picked, to ``quantize``; empty if that is not where its input is from."""
    way: list[onnx.NodeProto] = []
    name = quantize.input[0]
    while len(wiring.readers[name]) == 1 and name not in outputs and name in wiring.producers:
        way.insert(0, wiring.producers[name])
        if is_operator(way[0], "Concat"):
            return way if any(node.op_type == "Gather" for node in way) else []
        if not is_operator(way[0], *MOVING, *CASTS):
            break
        name = way[0].input[0]
    return []


def _types(model: onnx.ModelProto) -> Mapping[str, int]:
    """The element types of the tensors that nodes make, by name, as far as they can be known."""
    values = onnx.shape_inference.infer_shapes(model).graph.value_info
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _in_float32(way: list[onnx.NodeProto], types: Mapping[str, int]) -> bool:
    names = (*way[0].input, *(node.output[0] for node in way))
    return all(types.get(name) == onnx.TensorProto.FLOAT for name in names)


def _move(graph: onnx.GraphProto, quantize: onnx.NodeProto, way: list[onnx.NodeProto]) -> None:
    """Round each input of the Concat, leave out the casts, and have the last node make the codes."""
    concat, codes = way[0], quantize.output[0]
    place = [node.output[0] for node in graph.node].index(concat.output[0])
    graph.node.remove(quantize)
    for node in way:
        if node.op_type in CASTS:
            graph.node.remove(node)
    moving = [node for node in way if node.op_type not in CASTS]
    for before, after in pairwise(moving):
        after.input[0] = before.output[0]
    moving[-1].output[0] = codes
    for index, name in enumerate(concat.input):
        rounded = onnx.NodeProto()
        rounded.CopyFrom(quantize)
        rounded.name, rounded.input[0], rounded.output[0] = f"{quantize.name}/{index}", name, f"{codes}.{index}"
        graph.node.insert(place + index, rounded)
        concat.input[index] = rounded.output[0]
