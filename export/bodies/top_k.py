"""The best of long rows by TopK nodes of short axes, and the body of ``TopScores``.

The cost of a top-k on a GPU follows the length of the axis. So a row is cut into blocks. The k best entries lie in the
k best blocks, if blocks are ranked by their maxima as entries are: of equal ones the first is the better one. The best
blocks are cut into smaller ones, and so on, until a block is an entry.
"""

import numpy as np
from onnx_ir import DataType, Value
from onnxscript import OpBuilder

from export.bodies.building import integer

LONGEST_AXIS = 16_384
"""Longest axis of a TopK node, for rows of up to ``LONGEST_AXIS * parts ** (rounds - 1)`` entries.

With three rounds that is 4.2 million for k up to 1024, and 262,144 for k = 3840. The axes of longer rows are longer,
and the result is as exact.
"""
MOST_PARTS = 16
"""Largest number of smaller blocks that a block consists of; more would only pad short rows."""
LARGEST = float(np.finfo(np.float32).max)


def top_scores(op: OpBuilder, scores: Value) -> tuple[Value, Value]:
    """The best of each row, and their indices."""
    indices = top_k(op, scores, rounds=3)
    return op.GatherElements(scores, indices, axis=1), op.Cast(indices, to=DataType.INT32)


def top_k(op: OpBuilder, scores: Value, rounds: int) -> Value:
    """Indices [G, k] int64 of the ``k`` largest of each row [G, N], in order.

    Where N is below the attribute ``k``, the indices from N on stand behind the others and mean nothing.

    Args:
        op: builds the nodes.
        scores: [G, N] float32.
        rounds: number of sizes of blocks, the last of which is a single entry.
    """
    k = op.Unsqueeze(integer(op, "k"), [0])
    if rounds == 1:
        missing = op.Max(op.Sub(k, op.Shape(scores, start=1, end=2)), [0])
        return op.TopK(_pad(op, _comparable(op, scores), missing), k, axis=1, _outputs=2)[1]
    # Each block consists of this many smaller ones: those of the k best must fit an axis.
    parts = op.Clip(op.Div([LONGEST_AXIS], k), 1, MOST_PARTS)
    *finer, blocks = _maxima(op, scores, k, parts, rounds)
    best = op.TopK(blocks, op.Min(k, op.Shape(blocks, start=1, end=2)), axis=1, _outputs=2)[1]
    for entries in reversed(finer):
        places = _parts_of(op, _ascending(op, best), parts)
        candidates = op.GatherElements(entries, places, axis=1)
        count = op.Min(k, op.Shape(candidates, start=1, end=2))
        best = op.GatherElements(places, op.TopK(candidates, count, axis=1, _outputs=2)[1], axis=1)
    return best


def _maxima(op: OpBuilder, scores: Value, k: Value, parts: Value, rounds: int) -> list[Value]:
    """The entries of each row, padded to whole blocks, and the maxima of the blocks, from small to large ones."""
    size = parts
    for _ in range(rounds - 2):
        size = op.Mul(size, parts)
    length = op.Shape(scores, start=1, end=2)
    # As many blocks as hold the row and at least k entries.
    blocks = op.Div(op.Add(op.Max(length, k), op.Sub(size, [1])), size)
    levels = [_pad(op, _comparable(op, scores), op.Sub(op.Mul(blocks, size), length))]
    for _ in range(rounds - 1):
        cut = op.Reshape(levels[-1], op.Concat([0], [-1], parts, axis=0))
        levels.append(op.ReduceMax(cut, [2], keepdims=0))
    return levels


def _comparable(op: OpBuilder, scores: Value) -> Value:
    """Scores in the same order without NaN, which is larger than all else and which runtimes compare as they like."""
    return op.Where(op.Equal(scores, scores), op.Min(scores, LARGEST), np.inf)


def _pad(op: OpBuilder, scores: Value, count: Value) -> Value:
    """``count`` [1] entries behind each row, which lose against all others: of equal ones the first is the better."""
    return op.Pad(scores, op.Concat([0, 0, 0], count, axis=0), -np.inf)


def _ascending(op: OpBuilder, places: Value) -> Value:
    """Places in their order in the row, so that of equal entries the first comes first."""
    # Float32 is exact up to 2^24, and older parsers sort no integers.
    keys = op.Cast(places, to=DataType.FLOAT)
    count = op.Shape(places, start=1, end=2)
    return op.Cast(op.TopK(keys, count, axis=1, largest=0, _outputs=2)[0], to=DataType.INT64)


def _parts_of(op: OpBuilder, blocks: Value, parts: Value) -> Value:
    """Places [G, n · parts] of the parts of blocks [G, n]."""
    within = op.Range(0, op.Squeeze(parts, [0]), 1)
    return op.Reshape(op.Add(op.Unsqueeze(op.Mul(blocks, parts), [2]), within), [0, -1])
