"""Which tensors hold no negative number, whatever the image: the codes of such a tensor need no sign."""

from collections.abc import Iterable

import onnx

from engines.quantised.layers import Wiring, attributes

NEVER_NEGATIVE = ("Relu", "Sigmoid", "Abs", "Softmax", "Sqrt")
KEEPING = (
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Cast", "QuantizeLinear", "DequantizeLinear"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "RoiAlign"),
)
"""Operators whose output is not negative if their first input is not."""
ALL = ("Concat", "Add", "Mul", "Min")
"""Operators whose output is not negative if no input is."""
POOLED = ("MultilevelRoIAlign1", "MultilevelRoIAlign4")
"""Operators of ours that average their inputs but the last, which holds the RoIs."""


class Signs:
    """Answers for the tensors of one graph, found by what made them."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._known: dict[str, bool] = {}

    def never_negative(self, name: str) -> bool:
        """Whether the tensor ``name`` cannot hold a negative number; False where that is not known."""
        if name not in self._known:
            node = self._wiring.producers.get(name)
            if node is None:
                constant = self._wiring.constant(name)
                self._known[name] = constant is not None and bool((constant >= 0).all())
            else:
                self._known[name] = self._by_node(node)
        return self._known[name]

    def _by_node(self, node: onnx.NodeProto) -> bool:
        kind = node.op_type
        if kind in NEVER_NEGATIVE:
            return True
        if kind in KEEPING:
            return self.never_negative(node.input[0])
        if kind in ALL:
            return self._every(node.input)
        if kind == "Max":
            return any(map(self.never_negative, node.input))
        if kind == "Clip":
            return self.never_negative(node.input[0]) or self._cut_at_zero(node)
        if kind == "Where":
            return self._every(node.input[1:3])
        if kind == "Resize":
            return attributes(node).get("mode") != b"cubic" and self.never_negative(node.input[0])
        if kind in POOLED:
            return self._every(node.input[:-1])
        return False

    def _cut_at_zero(self, clip: onnx.NodeProto) -> bool:
        lowest = self._wiring.constant(clip.input[1]) if len(clip.input) > 1 else None
        return lowest is not None and bool((lowest >= 0).all())

    def _every(self, names: Iterable[str]) -> bool:
        return all(map(self.never_negative, names))
