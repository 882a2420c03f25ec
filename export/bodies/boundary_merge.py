"""The body of ``BoundaryMerge``."""

from onnx_ir import DataType, Value
from onnxscript import OpBuilder


def boundary_merge(op: OpBuilder, coarse: Value, fine: Value) -> Value:
    """The finer logits at the boundary of the coarser mask, the coarser ones elsewhere."""
    mask = op.Cast(op.GreaterOrEqual(op.Sigmoid(coarse), 0.5), to=DataType.FLOAT)
    share = op.AveragePool(mask, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    uniform = op.LessOrEqual(op.Abs(op.Sub(mask, share)), 0.1)
    interior = op.GreaterOrEqual(_upsample_aligned(op, op.Cast(uniform, to=DataType.FLOAT)), 0.5)
    return op.Where(interior, _upsample_aligned(op, coarse), fine)


def _upsample_aligned(op: OpBuilder, x: Value) -> Value:
    return op.Resize(x, None, [1.0, 1.0, 2.0, 2.0], mode="linear", coordinate_transformation_mode="align_corners")
