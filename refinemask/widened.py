"""A bfloat16 file in float32, for runtimes that know no bfloat16."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSET = 20
"""Operator set of the widened file: the newest in which ONNX Runtime's CPU provider runs all of its operators."""


def widen(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The same graph, the same bodies and the same rounded weights in float32 and operator set 20.

    ONNX Runtime's CPU provider knows no bfloat16, so it runs this graph in place of such a file. The bodies of the
    custom operators take any float type, so they need another operator set alone.
    """
    import onnx

    narrow, wide = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    for opset in _opsets(widened):
        if opset.domain == "":
            opset.version = OPSET
    for tensor in widened.graph.initializer:
        if tensor.data_type == narrow:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for node in widened.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == narrow:
                attribute.i = wide
    for value in (*widened.graph.value_info, *widened.graph.output):
        if value.type.tensor_type.elem_type == narrow:
            value.type.tensor_type.elem_type = wide
    return widened


def _opsets(model: "onnx.ModelProto") -> Iterable["onnx.OperatorSetIdProto"]:
    yield from model.opset_import
    for function in model.functions:
        yield from function.opset_import
