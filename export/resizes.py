"""Maps of few channels that are resized channel by channel, each as an image of its own.

OpenVINO keeps channels last and resizes as many at once as a register holds: two channels leave most of it empty. A map
of one channel has no such order, and is resized along its rows. The result is the same bit for bit.
"""

import onnx_ir as ir
from onnx_ir import DataType, Value

FEW = range(2, 8)
"""Numbers of channels that do not fill a register of 8 numbers."""


def resize_channels_apart(graph: ir.Graph) -> None:
    """Rewrite the linear resizes of few channels, in place, where height and width are known and scales are given."""
    for node in list(graph):
        if node.op_type != "Resize" or node.attributes.get_string("mode", "nearest") != "linear":
            continue
        source, result = node.inputs[0], node.outputs[0]
        if len(node.inputs) == 3 and source is not None and _is_small(source) and _is_small(result):
            _resize_channels_apart(graph, node, source, result)


def _resize_channels_apart(graph: ir.Graph, node: ir.Node, source: Value, result: Value) -> None:
    channels, *sides = _map_shape(result)
    apart = _reshaped(graph, source, [-1, 1, *_map_shape(source)[1:]], f"{result.name}_source_planes", node)
    resize = ir.node("Resize", [apart, *node.inputs[1:]], node.attributes)
    resize.metadata_props.update(node.metadata_props)
    planes = resize.outputs[0]
    planes.name, planes.type, planes.shape = (
        f"{result.name}_planes",
        result.type,
        ir.Shape([_rows(apart, 1), 1, *sides]),
    )
    graph.insert_before(node, resize)
    together = _reshaped(graph, planes, [-1, channels, *sides], f"{result.name}_maps", node)
    together.shape = result.shape
    ir.convenience.replace_all_uses_with(result, together, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    together.name = result.name


def _reshaped(graph: ir.Graph, value: Value, shape: list[int], name: str, node: ir.Node) -> Value:
    """``value`` in another shape, whose first dimension may vary, before ``node``."""
    sizes = ir.Value(
        name=f"{name}_shape",
        shape=ir.Shape([len(shape)]),
        type=ir.TensorType(DataType.INT64),
        const_value=ir.tensor(shape, dtype=DataType.INT64),
    )
    graph.initializers.add(sizes)
    reshape = ir.node("Reshape", [value, sizes])
    reshape.metadata_props.update(node.metadata_props)
    reshaped = reshape.outputs[0]
    reshaped.name, reshaped.type, reshaped.shape = name, value.type, ir.Shape([_rows(value, shape[1]), *shape[1:]])
    graph.insert_before(node, reshape)
    return reshaped


def _rows(value: Value, channels: int) -> int | None:
    """The first dimension of a map of the same sides and of so many channels; None where that is not known."""
    rows, own = list(value.shape or (None, None))[:2]
    return rows * own // channels if isinstance(rows, int) and isinstance(own, int) else None


def _is_small(value: Value) -> bool:
    shape = _map_shape(value)
    return len(shape) == 3 and all(isinstance(size, int) for size in shape) and shape[0] in FEW


def _map_shape(value: Value) -> list[int]:
    """Channels, height and width, of which only whole numbers are known."""
    return [] if value.shape is None else list(value.shape[1:])  # type: ignore[arg-type]
