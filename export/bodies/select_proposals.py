"""The body of ``SelectProposals``."""

from onnx_ir import DataType, Value
from onnxscript import OpBuilder

from export.bodies.building import integer
from export.bodies.top_k import top_k
from refinemask.modeling.box_coder import MAX_LOG_SCALE

ROUNDS = (3, 2, 2, 1, 1)
"""Rounds of the selection on P2..P6: a level has a quarter of the anchors of the one before it.

With k = 1000 and three anchors no axis is too long for images of up to 5.5 million pixels.
"""


def select_proposals(op: OpBuilder, *inputs: Value) -> tuple[Value, Value]:
    """Each level's best are gathered, and those of all levels are decoded together."""
    *maps, base_anchors, image_sizes = inputs
    levels = [_best_of_level(op, joint, base_anchors, level) for level, joint in enumerate(maps)]
    deltas, anchors, scores = (op.Concat(*parts, axis=1) for parts in zip(*levels, strict=True))
    boxes = _clip(op, _decode(op, deltas, anchors), image_sizes)
    boxes = op.Where(op.Equal(op.Unsqueeze(scores, [2]), -1.0), 0.0, boxes)
    k = op.Unsqueeze(integer(op, "k"), [0])
    return op.Reshape(boxes, op.Concat([-1], k, [4], axis=0)), op.Reshape(scores, op.Concat([-1], k, axis=0))


def _best_of_level(op: OpBuilder, joint: Value, base_anchors: Value, level: int) -> tuple[Value, Value, Value]:
    """Deltas and anchors [B, k, 4] of a level's best, and their scores [B, k]."""
    num_anchors = op.Shape(base_anchors, start=1, end=2)
    planes = op.Cast(op.Slice(joint, [0], num_anchors, [1]), to=DataType.FLOAT)
    logits = op.Flatten(op.Transpose(planes, perm=[0, 2, 3, 1]))
    index = top_k(op, logits, ROUNDS[level])
    length = op.Shape(logits, start=1, end=2)
    real, index = op.Less(index, length), op.Min(index, op.Sub(length, [1]))
    scores = op.Where(real, op.Sigmoid(op.GatherElements(logits, index, axis=1)), -1.0)
    cell = op.Div(index, num_anchors)
    anchor = op.Sub(index, op.Mul(cell, num_anchors))
    width = op.Shape(joint, start=3, end=4)
    row = op.Div(cell, width)
    column = op.Sub(cell, op.Mul(row, width))
    centre = op.Mul(op.Cast(_last_axis(op, column, row, column, row), to=DataType.FLOAT), float(4 << level))
    anchors = op.Add(centre, op.Gather(op.Gather(base_anchors, level, axis=0), anchor, axis=0))
    return _deltas(op, joint, num_anchors, anchor, cell), anchors, scores


def _deltas(op: OpBuilder, joint: Value, num_anchors: Value, anchor: Value, cell: Value) -> Value:
    """The deltas [B, k, 4] float32 of chosen anchors [B, k], read where they lie in the joint map [B, 5A, h, w]."""
    first = op.Unsqueeze(op.Add(op.Mul(anchor, [4]), num_anchors), [2])
    channel = op.Add(first, [0, 1, 2, 3])
    area = op.Mul(op.Shape(joint, start=2, end=3), op.Shape(joint, start=3, end=4))
    places = op.Add(op.Mul(channel, area), op.Unsqueeze(cell, [2]))
    chosen = op.GatherElements(op.Flatten(joint), op.Flatten(places), axis=1)
    return op.Cast(op.Reshape(chosen, op.Shape(places)), to=DataType.FLOAT)


def _decode(op: OpBuilder, deltas: Value, anchors: Value) -> Value:
    """Boxes [B, N, 4] as :func:`refinemask.modeling.box_coder.decode` computes them."""
    low, high = _halves(op, anchors)
    shift, log_scale = _halves(op, deltas)
    size = op.Sub(high, low)
    centre = op.Add(op.Mul(op.Add(low, high), 0.5), op.Mul(shift, size))
    half = op.Mul(op.Mul(size, op.Exp(op.Clip(log_scale, -MAX_LOG_SCALE, MAX_LOG_SCALE))), 0.5)
    return op.Concat(op.Sub(centre, half), op.Add(centre, half), axis=2)


def _clip(op: OpBuilder, boxes: Value, image_sizes: Value) -> Value:
    """Boxes [B, N, 4] cut to their image of a valid (height, width) [B, 2]."""
    limit = op.Unsqueeze(op.Gather(image_sizes, [1, 0, 1, 0], axis=1), [1])
    return op.Min(op.Max(boxes, 0.0), limit)


def _halves(op: OpBuilder, x: Value) -> tuple[Value, Value]:
    return op.Slice(x, [0], [2], [2]), op.Slice(x, [2], [4], [2])


def _last_axis(op: OpBuilder, *values: Value) -> Value:
    return op.Concat(*(op.Unsqueeze(value, [2]) for value in values), axis=2)
