"""What an exported file computes, counted from its graph: the operations of every node.

Convolutions, transposed convolutions, matrix products and the logits of labels are counted, a multiply-add as two
operations, as in the usual tables of GFLOPs; biases, resizing, RoIAlign and NMS are not.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx

from refinemask.contract import LABEL_LOGITS, UPSAMPLED_LABEL_LOGITS, read_onnx
from refinemask.files import UserError

Shape = tuple[int, ...]

PREFIX = "detector."
"""Prefix of the parameters' names in an exported file."""
MAPS_OF_LABEL_LOGITS = {LABEL_LOGITS.name: 1, UPSAMPLED_LABEL_LOGITS.name: 2}
"""Number of maps, the first inputs, of which each value is multiplied once: by the weight of its RoI's label."""
PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", *MAPS_OF_LABEL_LOGITS)
UNCOUNTED_PRODUCTS = ("Einsum", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


@dataclass(frozen=True)
class NodeCost:
    """One node of the graph."""

    op: str
    """Operator, such as ``Conv``."""
    module: str
    """Module of the detector that the node belongs to, such as ``mask_head.stages.0.fusion.merge``.

    A node that reads no module's own parameter belongs to the module that ran before it. RoIAlign belongs to the module
    that reads what RoIAlign pools.
    """
    flops: int
    """Operations of the node; 0 for a node that is no product."""


def count(path: str | os.PathLike[str]) -> list[NodeCost]:
    """The cost of every node of an exported file of one size, in the order of the graph.

    Raises:
        UserError: the file is no ONNX file or its sizes are not fixed, or it has products that are not counted.
    """
    graph = read_onnx(path).graph
    shapes = _shapes(graph, str(path)) | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    costs = []
    for node, module in zip(graph.node, _modules(graph), strict=True):
        if node.op_type in UNCOUNTED_PRODUCTS:
            raise UserError(f"{path}: {node.op_type} is not counted, only {', '.join(PRODUCTS)}; use an fp32 export")
        flops = _flops(node, shapes) if node.op_type in PRODUCTS else 0
        costs.append(NodeCost(node.op_type, module, flops))
    return costs


def flops_by_part(costs: Iterable[NodeCost]) -> dict[str, int]:
    """Operations by part, in the order in which they run.

    The parts are ``backbone``, ``fpn``, ``context`` (of HTC), ``rpn``, ``box_head`` and ``mask_head``.
    """
    parts: dict[str, int] = {}
    for cost in costs:
        if cost.flops:
            name = cost.module.partition(".")[0]
            parts[name] = parts.get(name, 0) + cost.flops
    return parts


def _shapes(graph: onnx.GraphProto, source: str) -> dict[str, Shape]:
    """The shape of every tensor: the exporter writes them all, those that custom operators give included."""
    shapes: dict[str, Shape] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if not all(dimension.HasField("dim_value") for dimension in dimensions):
            found = [dimension.dim_value or dimension.dim_param for dimension in dimensions]
            raise UserError(
                f"{source}: its sizes are not fixed, {value.name} is {found}; "
                "export it with --static HEIGHTxWIDTH --batch 1 --masks all"
            )
        shapes[value.name] = tuple(dimension.dim_value for dimension in dimensions)
    missing = [name for node in graph.node for name in node.output if name and name not in shapes]
    if missing:
        raise UserError(f"{source}: {len(missing)} tensors have no shape ({missing[0]}, …); export it (export.to_onnx)")
    return shapes


def _modules(graph: onnx.GraphProto) -> list[str]:
    """The module of each node, told by the parameters' names and the order in which the detector runs."""
    return modules_in_order([_named_module(node) for node in graph.node], [node.op_type for node in graph.node])


def modules_in_order(named: Sequence[str], operators: Sequence[str]) -> list[str]:
    """The module of each operator; see :attr:`NodeCost.module`.

    Args:
        named: the module whose own parameter each operator reads, or an empty string, in the order they run.
        operators: their names, of ONNX or of PyTorch.
    """
    modules, last, following = [], "", ""
    for module in named:
        last = module or last
        modules.append(last)
    for index in reversed(range(len(modules))):
        following = named[index] or following
        if "roialign" in operators[index].lower().replace("_", ""):
            modules[index] = following
    return modules


def _named_module(node: onnx.NodeProto) -> str:
    for name in node.input:
        if name.startswith(PREFIX):
            return name.removeprefix(PREFIX).rpartition(".")[0]
    return ""


def _flops(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    if node.op_type in MAPS_OF_LABEL_LOGITS:
        return 2 * sum(math.prod(shapes[name]) for name in node.input[: MAPS_OF_LABEL_LOGITS[node.op_type]])
    first, second, output = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return 2 * math.prod(output) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return 2 * math.prod(first) * math.prod(second[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * math.prod(output) * first[-2 if transposed else -1]
