"""The body of ``FixedNMS``."""

import onnx_ir as ir
from onnx_ir import DataType, Value
from onnxscript import OpBuilder

from export.bodies.building import integer, real


def fixed_nms(op: OpBuilder, boxes: Value, scores: Value) -> tuple[Value, Value]:
    """ONNX's own suppression finds the survivors, of which the best ``k`` are kept."""
    scores, k = _mark_padding(op, scores), integer(op, "k")
    selected = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), k, real(op, "iou_threshold"), -0.5)
    kept = op.Gather(selected, [0, 2], axis=1)
    nothing = op.ConstantOfShape(op.Shape(scores), value=ir.tensor([-1.0]))
    survivors = op.ScatterND(nothing, kept, op.GatherND(scores, kept))
    top = op.Min(op.Unsqueeze(k, [0]), op.Shape(scores, start=1, end=2))
    best, indices = op.TopK(survivors, top, axis=1, _outputs=2)
    return _pad_to_k(op, indices, op.GreaterOrEqual(best, 0.0), top)


def _mark_padding(op: OpBuilder, scores: Value) -> Value:
    """Scores, in which negative ones and NaN, which fails every comparison, become -1."""
    return op.Where(op.GreaterOrEqual(scores, 0.0), scores, -1.0)


def _pad_to_k(op: OpBuilder, indices: Value, kept: Value, top: Value) -> tuple[Value, Value]:
    """Kept indices [G, k] int32, padded with 0, and their number [G] int32, from ``top`` [1] = min(k, N) columns."""
    indices = op.Cast(op.Where(kept, indices, 0), to=DataType.INT32)
    missing = op.Sub(op.Unsqueeze(integer(op, "k"), [0]), top)
    num_kept = op.ReduceSum(op.Cast(kept, to=DataType.INT32), [1], keepdims=0)
    return op.Pad(indices, op.Concat([0, 0, 0], missing, axis=0)), num_kept
