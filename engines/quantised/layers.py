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
ONNX = ("", "ai.onnx")
"""Names of the domain of ONNX's own operators. A file may have functions of the same names in another one."""
ZEROS = {"int8": (0,), "uint8": (0, 128)}
"""Zero points of rounded inputs, by type: those of a file, and those that they are written anew with."""
MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""


@dataclass(frozen=True)
class Wiring:
    """Who makes and who reads each tensor of a graph; valid until the graph changes."""

    graph: onnx.GraphProto
    producers: Mapping[str, onnx.NodeProto] = field(init=False)
    """The node that makes a tensor, by the tensor's name."""
    readers: Mapping[str, list[onnx.NodeProto]] = field(init=False)
    """The nodes that read a tensor, themselves or in a graph within, by the tensor's name."""
    constants: Mapping[str, onnx.TensorProto] = field(init=False)
    """The initializers, by name."""

    def __post_init__(self) -> None:
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in read_by(node):
                readers.setdefault(name, []).append(node)
        object.__setattr__(self, "producers", {name: node for node in self.graph.node for name in node.output if name})
        object.__setattr__(self, "readers", readers)
        object.__setattr__(self, "constants", {tensor.name: tensor for tensor in self.graph.initializer})

    def producer(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node that makes the tensor ``name``, if it is of this kind."""
        node = self.producers.get(name)
        return node if node is not None and is_operator(node, kind) else None

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
    """The layers of ``graph`` whose input and weight are int8, in the order of the graph.

    Layers whose numbers are rounded in a way that is no symmetric int8 are none of them, such as those that are
    restored with another scale than they were rounded with.
    """
    wiring = Wiring(graph)
    given = {value.name for value in graph.output}
    for node in graph.node:
        if not is_operator(node, *OPERATORS) or len(node.input) < 2:
            continue
        restored, weight = (wiring.producer(name, "DequantizeLinear") for name in node.input[:2])
        quantize = wiring.producer(restored.input[0], "QuantizeLinear") if restored is not None else None
        if quantize is None or weight is None or quantize.output[0] in given or not is_symmetric(quantize, wiring):
            continue
        codes = wiring.constant(weight.input[0])
        if codes is not None and codes.dtype == np.int8 and _restores_by_channel(weight, codes.shape, wiring):
            yield QuantisedLayer(node, quantize, weight, codes)


def is_symmetric(quantize: onnx.NodeProto, wiring: Wiring) -> bool:
    """Whether a QuantizeLinear rounds by one scale, and nobody but DequantizeLinear nodes of that scale reads it."""
    readers = wiring.readers.get(quantize.output[0], [])
    rounding = _rounding(quantize, wiring)
    return (
        rounding is not None
        and bool(readers)
        and all(
            is_operator(reader, "DequantizeLinear")
            and list(reader.input).index(quantize.output[0]) == 0
            and _rounding(reader, wiring) == rounding
            for reader in readers
        )
    )


def _rounding(node: onnx.NodeProto, wiring: Wiring) -> tuple[Any, ...] | None:
    """Type and value of a node's scale and of its zero point; None unless it rounds or restores by one of each."""
    if len(node.input) != 3 or not attributes(node).keys() <= {"axis", "saturate"}:
        return None
    scale, zero = (wiring.constant(name) for name in node.input[1:])
    if scale is None or zero is None or scale.ndim or zero.ndim or int(zero) not in ZEROS.get(str(zero.dtype), ()):
        return None
    return str(scale.dtype), float(scale), str(zero.dtype), int(zero)


def _restores_by_channel(dequantize: onnx.NodeProto, shape: tuple[int, ...], wiring: Wiring) -> bool:
    """Whether the codes of a weight are restored by one scale, or one for each channel, and zero points of 0."""
    scale = wiring.constant(dequantize.input[1])
    zero = wiring.constant(dequantize.input[2]) if len(dequantize.input) > 2 else np.int8(0)
    if scale is None or zero is None or zero.any() or not attributes(dequantize).keys() <= {"axis"}:
        return False
    axis = scale_axis(dequantize)
    return not scale.ndim or (-len(shape) <= axis < len(shape) and scale.shape == (shape[axis],))


def is_operator(node: onnx.NodeProto, *kinds: str) -> bool:
    """Whether a node is one of these operators of ONNX."""
    return node.op_type in kinds and node.domain in ONNX


def read_by(node: onnx.NodeProto) -> set[str]:
    """The names of the tensors that a node reads, itself or in a graph within it, such as a branch of an If."""
    graphs = [graph for found in node.attribute for graph in (found.g, *found.graphs)]
    within = (read_by(inner) | {value.name for value in graph.output} for graph in graphs for inner in graph.node)
    return set(node.input).union(*within)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node, by name."""
    return {found.name: onnx.helper.get_attribute_value(found) for found in node.attribute}


def output_axis(node: onnx.NodeProto) -> int:
    """The axis of the weight of a Conv or Gemm along which its outputs lie."""
    return 1 if node.op_type == "Gemm" and not attributes(node).get("transB", 0) else 0


def scale_axis(dequantize: onnx.NodeProto) -> int:
    """The axis along which a DequantizeLinear has scales, where it has more than one."""
    return int(attributes(dequantize).get("axis", 1))
