"""The bodies of ``MultilevelRoIAlign1`` and ``MultilevelRoIAlign4``."""

import onnx_ir as ir
from onnx_ir import AttributeType, DataType, Value
from onnxscript import OpBuilder

from export.bodies.building import integer

END = [(1 << 63) - 1]
"""End of a slice that has none."""
OUTSIDE = [-256.0, -256.0, -252.0, -252.0]
"""A small box left of and above every image, exact in bfloat16 too, because a builder may round it."""


def roi_align(op: OpBuilder, feature: Value, rois: Value) -> Value:
    """Every RoI pools the one map, or those of its channels that the attributes name."""
    boxes, batch = _boxes_and_batch(op, rois)
    begin, channels = (op.Unsqueeze(integer(op, name), [0]) for name in ("channel_begin", "channels"))
    # Constants in the end: a slice of the whole map is then one that runtimes leave out.
    end = op.Where(op.Greater(channels, 0), op.Add(begin, channels), END)
    return op.CastLike(_pool(op, op.Slice(feature, begin, end, [1]), 0, boxes, batch), feature)


def multilevel_roi_align(op: OpBuilder, *inputs: Value) -> Value:
    """Each level pools its own RoIs only: pooling all of them on every level takes four times as long."""
    *features, rois = inputs
    boxes, batch = _boxes_and_batch(op, rois)
    area = op.Squeeze(op.ReduceProd(_sizes(op, rois), [1]), [1])
    scale = op.Add(op.Div(op.Sqrt(op.Max(area, 0.0)), op.Cast(integer(op, "finest_scale"), to=DataType.FLOAT)), 1e-6)
    pooled, indices = [], []
    for level, feature in enumerate(features):
        index = op.Squeeze(op.NonZero(_on_level(op, scale, level, len(features))), [0])
        pooled.append(_pool(op, feature, level, op.Gather(boxes, index), op.Gather(batch, index)))
        indices.append(index)
    order = op.Concat(*indices, axis=0)
    places = op.ScatterElements(order, order, op.Range(0, op.Size(order), 1))
    in_order = op.Gather(op.Concat(*pooled, axis=0), places)
    # The shape is known, but the counts above depend on data, so runtimes cannot derive it: state it.
    bins = op.Unsqueeze(integer(op, "output_size"), [0])
    shape = op.Concat(op.Shape(rois, start=0, end=1), op.Shape(features[0], start=1, end=2), bins, bins, axis=0)
    return op.CastLike(op.Reshape(in_order, shape), features[0])


def _on_level(op: OpBuilder, scale: Value, level: int, levels: int) -> Value:
    """Whether ``floor(log2(scale))``, clamped, is ``level``; comparisons decide it without rounding."""
    below = op.Less(scale, float(2 << level))
    if level == 0:
        return below
    from_here = op.GreaterOrEqual(scale, float(1 << level))
    return from_here if level == levels - 1 else op.And(from_here, below)


def _boxes_and_batch(op: OpBuilder, rois: Value) -> tuple[Value, Value]:
    """Boxes [R, 4] and batch indices [R] of RoIs [R, 5].

    With adaptive sampling a box without area has no samples, and pools to zero. Such a box is moved out of the image,
    because some runtimes would divide by its number of samples.
    """
    solid = op.Greater(op.ReduceMin(_sizes(op, rois), [1]), 0.0)
    sampled = op.Or(solid, op.Greater(integer(op, "sampling_ratio"), 0))
    boxes = op.Where(sampled, op.Slice(rois, [1], [5], [1]), OUTSIDE)
    return boxes, op.Cast(op.Squeeze(op.Slice(rois, [0], [1], [1]), [1]), to=DataType.INT64)


def _sizes(op: OpBuilder, rois: Value) -> Value:
    """Box sizes (width, height) [R, 2] of RoIs [R, 5]."""
    return op.Sub(op.Slice(rois, [3], [5], [1]), op.Slice(rois, [1], [3], [1]))


def _pool(op: OpBuilder, feature: Value, level: int, boxes: Value, batch: Value) -> Value:
    return op.RoiAlign(
        op.Cast(feature, to=DataType.FLOAT),
        boxes,
        batch,
        coordinate_transformation_mode="half_pixel",
        output_height=ir.RefAttr("output_height", "output_size", AttributeType.INT),
        output_width=ir.RefAttr("output_width", "output_size", AttributeType.INT),
        sampling_ratio=ir.RefAttr("sampling_ratio", "sampling_ratio", AttributeType.INT),
        spatial_scale=1 / (4 << level),
    )
