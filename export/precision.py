"""The float type of weights and features in an exported file.

The file carries its types, because TensorRT 11 takes them from nowhere else. Boxes, scores, RoI coordinates and the
boundary test stay float32 in every precision: the modules say so themselves (``refinemask.ops.full_precision``).
"""

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
