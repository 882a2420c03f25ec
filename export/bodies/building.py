"""How the body of a custom operator is built."""

from collections.abc import Callable, Sequence

import onnx_ir as ir
from onnx_ir import AttributeType, DataType, Value
from onnxscript import OpBuilder, build_function

from refinemask.contract import DOMAIN, PLUGIN_ATTRIBUTES, Operator


def body_of(
    operator: Operator, trace: Callable[..., Value | tuple[Value, ...]], inputs: Sequence[Value], opset: int
) -> ir.Function:
    """The body of an operator, which ``trace`` builds of the inputs, in operator set ``opset``."""
    name, kinds = operator.name, {int: AttributeType.INT, float: AttributeType.FLOAT}
    required = [ir.Attr(key, kinds[kind], None) for key, kind in operator.attributes.items()]
    defaults = [ir.Attr(key, AttributeType.STRING, value) for key, value in PLUGIN_ATTRIBUTES.items()]
    function = build_function(
        trace, inputs, domain=DOMAIN, name=name, attributes=required + defaults, opset_imports={"": opset}
    )
    for index, node in enumerate(function.all_nodes()):
        node.name = f"{name}.{node.op_type}_{index}"
        node.metadata_props.clear()
    # In older parsers a body shares the tensor names of the graph around it.
    for graph in (function.graph, *function.subgraphs()):
        for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
            value.name = f"{name}.{value.name}"
    return function


def tensor(name: str, *shape: int | str) -> Value:
    """An input of float32."""
    return ir.val(name, DataType.FLOAT, shape)


def integer(op: OpBuilder, name: str) -> Value:
    """The function's attribute ``name`` as a scalar tensor."""
    value = op.Constant(value_int=ir.RefAttr("value_int", name, AttributeType.INT))
    value.type, value.shape = ir.TensorType(DataType.INT64), ir.Shape([])
    return value


def real(op: OpBuilder, name: str) -> Value:
    """The function's attribute ``name`` as a scalar tensor."""
    value = op.Constant(value_float=ir.RefAttr("value_float", name, AttributeType.FLOAT))
    value.type, value.shape = ir.TensorType(DataType.FLOAT), ir.Shape([])
    return value
