"""Which tensors hold no negative number, whatever the image: the codes of such a tensor need no sign."""

from collections.abc import Iterable

import onnx

from engines.quantised.layers import ONNX, Wiring, attributes

NEVER_NEGATIVE = ("Relu", "Sigmoid", "Abs", "Softmax", "Sqrt")
KEEPING = (
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Identity"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "RoiAlign"),
)
"""Operators whose output is not negative if their first input is not."""
ALL = ("Concat", "Add", "Mul", "Min")
"""Operators whose output is not negative if no input is."""
POOLED = ("MultilevelRoIAlign1", "MultilevelRoIAlign4")
"""Operators of ours that average their inputs but the last, which holds the RoIs."""
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
"""Types to which a conversion keeps the sign. One to an integer may wrap."""


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
                self._known[name] = self._is_constant_without_sign(name)
            else:
                self._known[name] = self._by_node(node)
        return self._known[name]

    def _by_node(self, node: onnx.NodeProto) -> bool:
        kind = node.op_type
        if node.domain not in ONNX:
            return kind in POOLED and self._every(node.input[:-1])
        if kind in NEVER_NEGATIVE:
            return True
        if kind in KEEPING:
            return self.never_negative(node.input[0])
        if kind in ALL:
            return self._every(node.input)
        if kind == "Max":
            return any(map(self.never_negative, node.input))
        if kind == "Where":
            return self._every(node.input[1:3])
        return self._by_options(node)

    def _by_options(self, node: onnx.NodeProto) -> bool:
        """The same for operators of which it depends on more than what they read."""
        kind, given = node.op_type, attributes(node)
        if kind == "Cast":
            return given.get("to") in FLOATS and self.never_negative(node.input[0])
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            return self._by_rounding(node)
        if kind == "Clip":
            lowest, largest = ([*node.input[1:], "", ""])[:2]
            kept = self.never_negative(node.input[0]) or self._is_constant_without_sign(lowest)
            return kept and not given and (not largest or self._is_constant_without_sign(largest))
        if kind == "Resize":
            within = given.get("extrapolation_value", 0.0) >= 0
            return within and given.get("mode") != b"cubic" and self.never_negative(node.input[0])
        return False

    def _by_rounding(self, node: onnx.NodeProto) -> bool:
        zero = self._wiring.constant(node.input[2]) if len(node.input) > 2 else None
        if len(node.input) > 2 and (zero is None or zero.any()):
            return False
        return self._is_constant_without_sign(node.input[1]) and self.never_negative(node.input[0])

    def _is_constant_without_sign(self, name: str) -> bool:
        constant = self._wiring.constant(name)
        return constant is not None and bool((constant >= 0).all())

    def _every(self, names: Iterable[str]) -> bool:
        return all(map(self.never_negative, names))
