"""Quantising a graph by pairs of QuantizeLinear and DequantizeLinear around its convolutions and linear layers.

TensorRT runs a layer between such pairs in 8 bits (explicit quantisation). On a CPU the engines write them anew for
OpenVINO and ONNX Runtime (:mod:`engines.quantised`); left alone, ONNX Runtime computes them as written.
Every zero point is 0, because TensorRT supports no other. An activation has one scale, an int8 weight has one scale for
each output channel. All other layers keep the types of the file.

In int8, sums and enlargements read the rounded values that layers read anyway. So chains of layers stay in 8 bits, with
no ranges but those of the layers.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir import DataType, Value

QuantizedType = Literal["int8", "fp8"]
QUANTISED = ("Conv", "Gemm")
"""Operators that are quantised."""
KEPT = {
    # RPN's own convolution is that of both of its predictors.
    r"\b(cls_logits|bbox_deltas)/|^rpn/": "scores and offsets of boxes: 8 bits would shift every box",
    r"^backbone\.conv1/": "the stem reads the image with 3 channels: little work, all of the signal",
}
"""Reasons why layers are left as they are, by patterns of the layers' names."""


class _Format(NamedTuple):
    type: DataType
    dtype: Any
    limit: float
    """Largest magnitude of the type."""
    per_channel: bool
    """Whether weights have a scale for each output channel; in a float type, one scale serves all channels."""
    chained: bool
    """Whether sums and enlargements read rounded values, too; in a float of 8 bits, steps are too wide for sums."""


FORMATS: dict[QuantizedType, _Format] = {
    "int8": _Format(DataType.INT8, np.int8, 127, True, True),
    "fp8": _Format(DataType.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn, 448, False, False),
}


def layers(graph: ir.Graph) -> dict[str, ir.Node]:
    """The convolutions and linear layers of a graph, by name, in the order of the graph."""
    return {node.name or "": node for node in graph if node.op_type in QUANTISED}


def kept_layers(graph: ir.Graph) -> dict[str, str]:
    """The reason why a layer is not quantised, by the name of each such layer."""
    return {name: reason for name in layers(graph) for pattern, reason in KEPT.items() if re.search(pattern, name)}


def insert_qdq(graph: ir.Graph, ranges: Mapping[str, float], precision: QuantizedType) -> None:
    """Quantise the input and the weight of each layer in ``ranges``, in place.

    Args:
        graph: a graph whose weights are float32 or float16 initializers.
        ranges: largest magnitude that is kept of each layer's input, by the layer's name.
        precision: the type that inputs and weights are rounded to.
    """
    rounding = _Rounding(graph, FORMATS[precision])
    for name, node in layers(graph).items():
        values, weight = node.inputs[:2]
        if name not in ranges or values is None or weight is None:
            continue
        node.replace_input_with(0, rounding.activation(values, weight.dtype, ranges[name], node))
        node.replace_input_with(1, rounding.weight(weight, _output_axis(node), node))
        if not weight.uses():
            del graph.initializers[str(weight.name)]
    if rounding.form.chained:
        rounding.share()
        graph.sort()


def _output_axis(node: ir.Node) -> int:
    """The axis of the weight along which the output channels lie."""
    return 1 if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0) else 0


def _is_shortcut(node: ir.Node, index: int) -> bool:
    """Whether an operand of a sum is added to what a convolution has made, as in a residual block."""
    return node.op_type == "Add" and _is_made_by(node.inputs[1 - index], "Conv")


def _repeats(node: ir.Node) -> bool:
    """Whether a map is enlarged by repeating its values, which is the same before and after they are rounded."""
    return node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") == "nearest"


def _is_made_by(value: Value | None, op_type: str) -> bool:
    node = None if value is None else value.producer()
    return node is not None and node.op_type == op_type


class _Rounding:
    """Rounding of each tensor to the narrow type, once for all its readers."""

    def __init__(self, graph: ir.Graph, form: _Format) -> None:
        self.graph = graph
        self.form = form
        self.done: dict[Value, Value] = {}

    def activation(self, value: Value, dtype: DataType | None, limit: float, reader: ir.Node) -> Value:
        """``value``, of type ``dtype``, rounded before its first reader."""
        if value not in self.done:
            scale = self._scale(limit, (dtype or DataType.FLOAT).numpy())
            scales, zero = self._initializers(value, scale)
            quantize = ir.node("QuantizeLinear", [value, scales, zero], name=f"{value.name}/QuantizeLinear")
            rounded = quantize.outputs[0]
            rounded.name, rounded.shape = f"{value.name}.rounded", value.shape
            rounded.type = ir.TensorType(self.form.type)
            self.graph.insert_before(reader, quantize)
            self.done[value] = self._restore(value, rounded, scales, zero, reader)
        return self.done[value]

    def weight(self, value: Value, axis: int, reader: ir.Node) -> Value:
        """The weight ``value``, stored in the narrow type; its output channels lie along ``axis``."""
        if value not in self.done:
            assert value.const_value is not None
            weight = value.const_value.numpy()
            others = tuple(other for other in range(weight.ndim) if other != axis)
            limits = np.abs(weight).max(axis=others if self.form.per_channel else None, keepdims=True)
            scale = self._scale(limits, weight.dtype)
            scaled = weight.astype(np.float32) / scale.astype(np.float32)
            if self.form.type == DataType.INT8:
                scaled = scaled.round().clip(-self.form.limit, self.form.limit)
            rounded = self._initializer(f"{value.name}.rounded", scaled.astype(self.form.dtype))
            attributes = {"axis": axis} if self.form.per_channel else {}
            scales, zero = self._initializers(value, scale.reshape(-1) if attributes else scale.reshape(()))
            self.done[value] = self._restore(value, rounded, scales, zero, reader, **attributes)
        return self.done[value]

    def share(self) -> None:
        """Let sums and enlargements read what layers read rounded: then nobody needs it in a wider type."""
        for value in self.done:
            for node, index in tuple(value.uses()):
                if _is_shortcut(node, index) or _repeats(node):
                    node.replace_input_with(index, self.done[value])

    def _scale(self, limits: NDArray[np.floating] | float, dtype: np.dtype) -> NDArray[np.floating]:
        # A scale below the smallest normal number of float16 would become zero. Such a channel is as good as silent.
        return np.maximum(np.asarray(limits, np.float32) / self.form.limit, np.finfo(dtype).tiny).astype(dtype)

    def _restore(
        self, value: Value, rounded: Value, scales: Value, zero: Value, reader: ir.Node, **attributes: int
    ) -> Value:
        name = f"{value.name}/DequantizeLinear"
        node = ir.node("DequantizeLinear", [rounded, scales, zero], attributes, name=name)
        restored = node.outputs[0]
        restored.name, restored.shape = f"{value.name}.restored", value.shape
        restored.type = ir.TensorType(scales.dtype or DataType.FLOAT)
        self.graph.insert_before(reader, node)
        return restored

    def _initializers(self, value: Value, scale: NDArray[np.floating]) -> tuple[Value, Value]:
        zero = np.zeros(scale.shape, self.form.dtype)
        return self._initializer(f"{value.name}.scale", scale), self._initializer(f"{value.name}.zero", zero)

    def _initializer(self, name: str, array: NDArray[Any]) -> Value:
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        self.graph.register_initializer(value)
        return value
