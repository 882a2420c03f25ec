"""What the nodes of an exported file read and write, counted from the shapes that the exporter notes.

Weights are apart: they are the same whatever becomes of the graph. A node that only looks at its input in another shape
moves nothing.
"""

import math
from collections import Counter
from dataclasses import dataclass

import onnx
from onnx import helper

from refinemask.contract import ROI_ALIGN_1

VIEWS = ("Constant", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze")
"""Operators that move nothing."""
PICKING = ("Gather", "GatherElements", "GatherND", "Slice")
"""Operators that read as much of their first input as they write."""


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    width: int
    """Bytes of a value."""

    @property
    def bytes(self) -> int:
        return self.width * math.prod(self.shape)


def moved_bytes(graph: onnx.GraphProto) -> dict[str, int] | None:
    """Bytes that the nodes of each operator read and write, most first; None where a size is not fixed."""
    tensors, weights = _fixed_tensors(graph), {tensor.name for tensor in graph.initializer}
    moved: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in VIEWS:
            continue
        read = [name for name in node.input if name and name not in weights]
        written = [name for name in node.output if name]
        if not tensors.keys() >= {*read, *written}:
            return None
        output = sum(tensors[name].bytes for name in written)
        moved[node.op_type] += output + sum(_read_bytes(node, name, tensors[name], output) for name in read)
    return dict(moved.most_common())


def longest_top_k(graph: onnx.GraphProto) -> int | None:
    """Values along the longest axis of a TopK; None where there is none, or its size is not fixed."""
    tensors = _fixed_tensors(graph)
    nodes = [node for node in graph.node if node.op_type == "TopK"]
    if not all(node.input[0] in tensors for node in nodes):
        return None
    return max((tensors[node.input[0]].shape[_attribute(node, "axis", -1)] for node in nodes), default=None)


def _read_bytes(node: onnx.NodeProto, name: str, tensor: _Tensor, output: int) -> int:
    """Bytes that a node reads of an input, if it writes ``output`` bytes."""
    if name == node.input[0] and node.op_type in PICKING:
        return min(tensor.bytes, output)
    if name == node.input[0] and node.op_type == ROI_ALIGN_1.name and (channels := _attribute(node, "channels", 0)):
        return tensor.bytes // tensor.shape[1] * channels
    return tensor.bytes


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def _fixed_tensors(graph: onnx.GraphProto) -> dict[str, _Tensor]:
    """Every tensor whose size is fixed, by its name."""
    tensors = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim):
            shape = tuple(size.dim_value for size in kind.shape.dim)
            tensors[value.name] = _Tensor(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize)
    return tensors
