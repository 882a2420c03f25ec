"""Gathers of an exported graph as cheaper ones that read the same values.

PyTorch gathers rows by an index for every number, and has 64-bit indices only. In a graph an index for a row is enough,
and where ONNX takes 32 bits, an index that has them needs no cast.
"""

import onnx_ir as ir
from onnx_ir import DataType


def simplify_gathers(graph: ir.Graph) -> None:
    """Rewrite the gathers of a traced graph, in place; what nothing reads any more is left to a later pass."""
    for node in graph:
        if node.op_type == "GatherElements":
            _gather_rows(node)
        elif node.op_type == "GatherND":
            _gather_along_the_first_axis(node)
        if node.op_type in ("Gather", "GatherElements"):
            _read_narrow_indices(node)
        if node.op_type == "Gather":
            _squeeze(node)


def _gather_rows(node: ir.Node) -> None:
    """``data.gather(1, index[..., None].expand(-1, -1, n))`` of data [B, N, n] reads whole rows."""
    data, indices = node.inputs
    expand = _producer(indices, "Expand")
    if expand is None or node.attributes.get_int("axis", 0) != 1:
        return
    index = expand.inputs[0]
    shapes = [_shape(value) for value in (data, indices, index)]
    if [len(shape) for shape in shapes] != [3, 3, 3]:
        return
    (batch, _, row), found, narrow = shapes
    if found != (batch, narrow[1], row) or narrow != (batch, found[1], 1):
        return
    node.op_type = "GatherND"
    del node.attributes["axis"]
    node.attributes.add(ir.AttrInt64("batch_dims", 1))
    node.replace_input_with(1, index)


def _gather_along_the_first_axis(node: ir.Node) -> None:
    """``data[index]`` needs no index of one number for each row."""
    unsqueeze = _producer(node.inputs[1], "Unsqueeze")
    if unsqueeze is None or node.attributes.get_int("batch_dims", 0) != 0:
        return
    index, axes = unsqueeze.inputs
    if _constant(axes) not in ([-1], [len(_shape(index))]):
        return
    node.op_type = "Gather"
    node.attributes.pop("batch_dims", None)
    node.attributes.add(ir.AttrInt64("axis", 0))
    node.replace_input_with(1, index)


def _read_narrow_indices(node: ir.Node) -> None:
    cast = _producer(node.inputs[1], "Cast")
    if cast is not None and (narrow := cast.inputs[0]) is not None and narrow.dtype == DataType.INT32:
        node.replace_input_with(1, narrow)


def _squeeze(node: ir.Node) -> None:
    """The only place along an axis: a view of the data, no copy."""
    axis = node.attributes.get_int("axis", 0)
    if not isinstance(_constant(node.inputs[1]), int) or _shape(node.inputs[0])[axis : axis + 1] != (1,):
        return
    axes = ir.Value(
        name=f"{node.outputs[0].name}_axes",
        shape=ir.Shape([1]),
        type=ir.TensorType(DataType.INT64),
        const_value=ir.tensor([axis], dtype=DataType.INT64),
    )
    assert node.graph is not None
    node.graph.initializers.add(axes)
    node.op_type = "Squeeze"
    del node.attributes["axis"]
    node.replace_input_with(1, axes)


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that gives the value, if it is one of this operator."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _constant(value: ir.Value | None) -> int | list[int] | None:
    """The indices that a value holds in every run."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy().tolist()


def _shape(value: ir.Value | None) -> tuple[int | ir.SymbolicDim, ...]:
    """Sizes, none where they are unknown."""
    return () if value is None or value.shape is None else tuple(value.shape)
