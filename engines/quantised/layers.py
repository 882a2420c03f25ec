"""The layers of a file that compute on rounded inputs and rounded weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from numpy.typing import NDArray

OPERATORS = ("Conv", "Gemm", "MatMul")
MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""


@dataclass(frozen=True)
class Wiring:
    """Who makes and who reads each tensor of a graph; valid until the graph changes."""

    graph: onnx.GraphProto
    producers: Mapping[str, onnx.NodeProto] = field(init=False)
    """The node that makes a tensor, by the tensor's name."""
    readers: Mapping[str, list[onnx.NodeProto]] = field(init=False)
    """The nodes that read a tensor, by the tensor's name."""
    constants: Mapping[str, onnx.TensorProto] = field(init=False)
    """The initializers, by name."""

    def __post_init__(self) -> None:
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in {*node.input}:
                readers.setdefault(name, []).append(node)
        object.__setattr__(self, "producers", {name: node for node in self.graph.node for name in node.output if name})
        object.__setattr__(self, "readers", readers)
        object.__setattr__(self, "constants", {tensor.name: tensor for tensor in self.graph.initializer})

    def producer(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node that makes the tensor ``name``, if it is of this kind."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == kind and node.domain in ("", "ai.onnx") else None

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of the tensor ``name``, if it is an initializer."""
        return onnx.numpy_helper.to_array(self.constants[name]) if name in self.constants else None


@dataclass(frozen=True)
class QuantisedLayer:
    """A convolution or linear layer between DequantizeLinear nodes, its codes int8 with zero points of 0."""

    node: onnx.NodeProto
    """The layer itself."""
    quantize: onnx.NodeProto
    """The node that rounds its input."""
    weight: onnx.NodeProto
    """The node that restores its weight."""
    codes: NDArray[np.int8]
    """The weight as the file holds it."""


def quantised_layers(graph: onnx.GraphProto) -> Iterator[QuantisedLayer]:
    """The layers of ``graph`` whose input and weight are int8, in the order of the graph."""
    wiring = Wiring(graph)
    for node in graph.node:
        if node.op_type not in OPERATORS or len(node.input) < 2:
            continue
        restored, weight = (wiring.producer(name, "DequantizeLinear") for name in node.input[:2])
        quantize = wiring.producer(restored.input[0], "QuantizeLinear") if restored is not None else None
        codes = wiring.constant(weight.input[0]) if weight is not None else None
        if quantize is not None and weight is not None and codes is not None and codes.dtype == np.int8:
            yield QuantisedLayer(node, quantize, weight, codes)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node, by name."""
    return {found.name: onnx.helper.get_attribute_value(found) for found in node.attribute}


def output_axis(node: onnx.NodeProto) -> int:
    """The axis of the weight of a Conv or Gemm along which its outputs lie."""
    return 1 if node.op_type == "Gemm" and not attributes(node).get("transB", 0) else 0


def scale_axis(dequantize: onnx.NodeProto) -> int:
    """The axis along which a DequantizeLinear has scales, where it has more than one."""
    return int(attributes(dequantize).get("axis", 1))
