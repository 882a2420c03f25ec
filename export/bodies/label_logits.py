"""The bodies of ``LabelLogits`` and ``UpsampledLabelLogits``."""

from onnx_ir import DataType, Value
from onnxscript import OpBuilder

LAST = (1 << 63) - 1
"""The end of a slice that takes all that is left."""


def label_logits(op: OpBuilder, features: Value, weight: Value, bias: Value, labels: Value) -> Value:
    """A product with one row for each RoI."""
    labels = _known_labels(op, weight, labels)
    logits = _project(op, features, op.Unsqueeze(op.Gather(weight, labels), [1]))
    return _add_bias(op, logits, bias, labels)


def upsampled_label_logits(
    op: OpBuilder, coarse: Value, masks: Value, weight: Value, bias: Value, labels: Value
) -> Value:
    """The product with the coarse features is upsampled, and that with the masks added."""
    labels = _known_labels(op, weight, labels)
    rows, channels = op.Unsqueeze(op.Gather(weight, labels), [1]), op.Shape(coarse, start=1, end=2)
    own = _project(op, coarse, op.Slice(rows, [0], channels, [2]))
    upsampled = op.Resize(own, None, [1.0, 1.0, 2.0, 2.0], mode="linear", coordinate_transformation_mode="half_pixel")
    of_masks = _project(op, masks, op.Slice(rows, channels, [LAST], [2]))
    return _add_bias(op, op.Add(upsampled, of_masks), bias, labels)


def _known_labels(op: OpBuilder, weight: Value, labels: Value) -> Value:
    """Labels of which none is past the last row: a single row serves every label."""
    last = op.Sub(op.Shape(weight, start=0, end=1), 1)
    return op.Min(labels, op.Cast(last, to=DataType.INT32))


def _project(op: OpBuilder, features: Value, rows: Value) -> Value:
    """A linear map of its own for each RoI: features [R, c, s, s], rows [R, 1, c], result [R, 1, s, s]."""
    products = op.MatMul(rows, op.Reshape(features, [0, 0, -1]))
    return op.Reshape(products, op.Concat([0, 1], op.Shape(features, start=2), axis=0))


def _add_bias(op: OpBuilder, logits: Value, bias: Value, labels: Value) -> Value:
    biases = op.Unsqueeze(op.Gather(bias, labels), [1, 2, 3])
    return op.Cast(op.Add(logits, biases), to=DataType.FLOAT)
