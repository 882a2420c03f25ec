"""The custom operators of an exported file, defined by standard ones.

Each operator is a node of domain ``refinemask`` and a model-local function of the same name. ONNX Runtime runs the
function's body; TensorRT takes the plugin registered under the node's ``plugin_version`` and ``plugin_namespace``.
TensorRT looks functions up by name alone, so each number of inputs needs a name of its own.
"""

from collections.abc import Callable, Sequence

import onnx_ir as ir
from onnx_ir import AttributeType, DataType, Value
from onnxscript import OpBuilder, build_function

from refinemask.contract import BOUNDARY_MERGE, DOMAIN, FIXED_NMS, PLUGIN_ATTRIBUTES, ROI_ALIGN_1, ROI_ALIGN_4, Operator

OUTSIDE = [-256.0, -256.0, -252.0, -252.0]
"""A small box left of and above every image, exact in bfloat16 too, because a builder may round it."""


def function_bodies(opset: int) -> list[ir.Function]:
    """The bodies of all custom operators, in operator set ``opset``, which must be the model's own."""
    boxes, scores = _tensor("boxes", "G", "N", 4), _tensor("scores", "G", "N")
    coarse, fine = _tensor("coarse", "R", 1, "n", "n"), _tensor("fine", "R", 1, "m", "m")
    return [
        _function(ROI_ALIGN_4, _multilevel_roi_align, [*map(_map, range(4)), _rois()], opset),
        _function(ROI_ALIGN_1, _roi_align, [_map(0), _rois()], opset),
        _function(FIXED_NMS, _fixed_nms, [boxes, scores], opset),
        _function(BOUNDARY_MERGE, _boundary_merge, [coarse, fine], opset),
    ]


def _roi_align(op: OpBuilder, feature: Value, rois: Value) -> Value:
    boxes, batch = _boxes_and_batch(op, rois)
    return op.CastLike(_pool(op, feature, 0, boxes, batch), feature)


def _multilevel_roi_align(op: OpBuilder, *inputs: Value) -> Value:
    """Each level pools its own RoIs only: pooling all of them on every level takes four times as long."""
    *features, rois = inputs
    boxes, batch = _boxes_and_batch(op, rois)
    area = op.Squeeze(op.ReduceProd(_sizes(op, rois), [1]), [1])
    scale = op.Add(op.Div(op.Sqrt(op.Max(area, 0.0)), op.Cast(_integer(op, "finest_scale"), to=DataType.FLOAT)), 1e-6)
    pooled, indices = [], []
    for level, feature in enumerate(features):
        index = op.Squeeze(op.NonZero(_on_level(op, scale, level, len(features))), [0])
        pooled.append(_pool(op, feature, level, op.Gather(boxes, index), op.Gather(batch, index)))
        indices.append(index)
    order = op.Concat(*indices, axis=0)
    places = op.ScatterElements(order, order, op.Range(0, op.Size(order), 1))
    in_order = op.Gather(op.Concat(*pooled, axis=0), places)
    # The shape is known, but the counts above depend on data, so runtimes cannot derive it: state it.
    bins = op.Unsqueeze(_integer(op, "output_size"), [0])
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
    sampled = op.Or(solid, op.Greater(_integer(op, "sampling_ratio"), 0))
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


def _fixed_nms(op: OpBuilder, boxes: Value, scores: Value) -> tuple[Value, Value]:
    scores, k = _mark_padding(op, scores), _integer(op, "k")
    selected = op.NonMaxSuppression(boxes, op.Unsqueeze(scores, [1]), k, _float(op, "iou_threshold"), -0.5)
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
    missing = op.Sub(op.Unsqueeze(_integer(op, "k"), [0]), top)
    num_kept = op.ReduceSum(op.Cast(kept, to=DataType.INT32), [1], keepdims=0)
    return op.Pad(indices, op.Concat([0, 0, 0], missing, axis=0)), num_kept


def _boundary_merge(op: OpBuilder, coarse: Value, fine: Value) -> Value:
    mask = op.Cast(op.GreaterOrEqual(op.Sigmoid(coarse), 0.5), to=DataType.FLOAT)
    share = op.AveragePool(mask, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    uniform = op.LessOrEqual(op.Abs(op.Sub(mask, share)), 0.1)
    interior = op.GreaterOrEqual(_upsample_aligned(op, op.Cast(uniform, to=DataType.FLOAT)), 0.5)
    return op.Where(interior, _upsample_aligned(op, coarse), fine)


def _upsample_aligned(op: OpBuilder, x: Value) -> Value:
    return op.Resize(x, None, [1.0, 1.0, 2.0, 2.0], mode="linear", coordinate_transformation_mode="align_corners")


def _function(
    operator: Operator, trace: Callable[..., Value | tuple[Value, ...]], inputs: Sequence[Value], opset: int
) -> ir.Function:
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


def _tensor(name: str, *shape: int | str) -> Value:
    return ir.val(name, DataType.FLOAT, shape)


def _map(level: int) -> Value:
    return Value(name=f"f{level}")


def _rois() -> Value:
    return _tensor("rois", "R", 5)


def _integer(op: OpBuilder, name: str) -> Value:
    """The function's attribute ``name`` as a scalar tensor."""
    value = op.Constant(value_int=ir.RefAttr("value_int", name, AttributeType.INT))
    value.type, value.shape = ir.TensorType(DataType.INT64), ir.Shape([])
    return value


def _float(op: OpBuilder, name: str) -> Value:
    """The function's attribute ``name`` as a scalar tensor."""
    value = op.Constant(value_float=ir.RefAttr("value_float", name, AttributeType.FLOAT))
    value.type, value.shape = ir.TensorType(DataType.FLOAT), ir.Shape([])
    return value
