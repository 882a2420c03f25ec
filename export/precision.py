"""The float type of weights and features in an exported file.

The file carries its types, because TensorRT 11 takes them from nowhere else. Boxes, scores, RoI coordinates and the
boundary test stay float32 in every precision: the modules say so themselves (``refinemask.ops.full_precision``).
"""

import onnx_ir as ir
from onnx_ir import DataType

from refinemask.files import UserError
from refinemask.modeling.exported import Precision

OPSETS: dict[Precision, int] = {"fp32": 20, "fp16": 20, "bf16": 22}
"""Operator set of an export by default, by precision."""
ALLOWED_OPSETS: dict[Precision, range] = {"fp32": range(18, 22), "fp16": range(18, 22), "bf16": range(22, 25)}
"""Operator sets in which each precision can be exported.

18 is the oldest that the exporter writes, 21 the newest that ONNX Runtime's CPU provider runs whole (it lacks RoiAlign
of 22), 22 the first with a bfloat16 convolution, 24 the newest that TensorRT parses.
"""


def choose_opset(precision: Precision, opset: int | None) -> int:
    """``opset``, or the precision's own where it is None.

    Raises:
        UserError: files of this precision do not exist in this operator set, or nothing runs them.
    """
    allowed = ALLOWED_OPSETS[precision]
    if opset is None:
        return OPSETS[precision]
    if opset not in allowed:
        raise UserError(f"--opset {opset} with --precision {precision}: expected {allowed.start} to {allowed.stop - 1}")
    return opset


def widen(model: ir.Model) -> ir.Model:
    """The same graph and the same rounded weights in float32 and operator set 20, without the functions.

    ONNX Runtime's CPU provider knows no bfloat16, so it runs this graph in place of such a file.
    """
    widened = model.clone()
    widened.functions.clear()
    widened.opset_imports[""] = OPSETS["fp32"]
    for value in widened.graph.initializers.values():
        if value.dtype == DataType.BFLOAT16 and value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().astype("float32"), name=value.name)
            value.dtype = DataType.FLOAT
    for node in widened.graph.all_nodes():
        to = node.attributes.get("to")
        if node.op_type == "Cast" and to is not None and to.as_int() == DataType.BFLOAT16:
            node.attributes.add(ir.AttrInt64("to", DataType.FLOAT))
        for output in node.outputs:
            if output.dtype == DataType.BFLOAT16:
                output.dtype = DataType.FLOAT
    return widened
