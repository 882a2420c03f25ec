"""What an exported file computes, counted from its graph: products, parameters and tensor elements of every node.

Convolutions, transposed convolutions and matrix products are counted, a multiply-add as two operations, as in the
usual tables of GFLOPs; biases, resizing, RoIAlign and NMS are not.
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from refinemask.files import UserError

Shape = tuple[int, ...]

PREFIX = "detector."
"""Of the parameters' names in an exported file."""
PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
UNCOUNTED_PRODUCTS = ("Einsum", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class NodeCost:
    """One node of the graph."""

    name: str
    op: str
    module: str
    """The detector's module it belongs to, such as ``mask_head.stages.0.fusion.merge``.

    A node that reads no module's own parameter belongs to the module that ran before it, and RoIAlign to the one that
    reads what it pools.
    """
    flops: int
    """Operations of its product; 0 where it is none."""
    parameters: int
    """Weights of its product that no node before it reads."""
    elements: int
    """Of all the tensors that it reads and writes, without weights."""


@dataclass(frozen=True)
class Cost:
    """The sum over several nodes."""

    flops: int
    parameters: int
    product_elements: int
    """Elements that the products among them read and write."""


def count(model: onnx.ModelProto | str | os.PathLike[str]) -> list[NodeCost]:
    """The cost of every node of an exported file of one size, in the order of the graph.

    Raises:
        UserError: the file is no ONNX file or its sizes are not fixed, or it has products that are not counted.
    """
    source = "the model" if isinstance(model, onnx.ModelProto) else str(model)
    graph = _load(model).graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer if tensor.data_type in FLOATS}
    constants = {tensor.name for tensor in graph.initializer}
    shapes = _shapes(graph, source) | weights
    modules = _modules(graph)
    costs, seen = [], set[str]()
    for node, module in zip(graph.node, modules, strict=True):
        if node.op_type in UNCOUNTED_PRODUCTS:
            raise UserError(f"{source}: {node.op_type} is not counted, only {', '.join(PRODUCTS)}; use an fp32 export")
        is_product = node.op_type in PRODUCTS
        read = {name for name in node.input if is_product and name in weights} - seen
        seen |= read
        tensors = [name for name in (*node.input, *node.output) if name and name not in constants]
        costs.append(
            NodeCost(
                name=node.name,
                op=node.op_type,
                module=module,
                flops=_flops(node, shapes) if is_product else 0,
                parameters=sum(math.prod(weights[name]) for name in read),
                elements=sum(math.prod(shapes[name]) for name in tensors),
            )
        )
    return costs


def group(costs: Iterable[NodeCost], key: Callable[[NodeCost], str]) -> dict[str, Cost]:
    """Sums by ``key``, in the order of first appearance."""
    groups: dict[str, list[NodeCost]] = {}
    for cost in costs:
        groups.setdefault(key(cost), []).append(cost)
    return {name: total(members) for name, members in groups.items()}


def total(costs: Iterable[NodeCost]) -> Cost:
    """The sum of all."""
    nodes = list(costs)
    return Cost(
        flops=sum(node.flops for node in nodes),
        parameters=sum(node.parameters for node in nodes),
        product_elements=sum(node.elements for node in nodes if node.flops),
    )


def part(cost: NodeCost) -> str:
    """A key for :func:`group`: ``backbone``, ``fpn``, ``rpn``, ``context`` (HTC), ``box_head`` or ``mask_head``."""
    return cost.module.partition(".")[0]


def _load(model: onnx.ModelProto | str | os.PathLike[str]) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    try:
        return onnx.load(Path(model))
    except FileNotFoundError as error:
        raise UserError(f"{model}: no such file") from error
    except Exception as error:
        raise UserError(f"{model}: not a readable ONNX file; export it again (export.to_onnx)") from error


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
    first, second, output = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return 2 * math.prod(output) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return 2 * math.prod(first) * math.prod(second[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * math.prod(output) * first[-2 if transposed else -1]
