"""The codes of rounded inputs, written without a sign.

The files have int8 codes with zero points of 0, because TensorRT takes no others. The integer kernels of CPUs multiply
unsigned inputs by signed weights. Given a signed input, a runtime moves its codes by 128 and subtracts the surplus
afterwards (OpenVINO), or takes a slow kernel (ONNX Runtime). Here the file's numbers are written as those kernels like
them, and stay the same: code by code, of every input.
"""

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from engines.quantised.layers import Wiring, is_operator, is_symmetric
from engines.quantised.signs import Signs

LARGEST = 127
"""The largest int8 code."""
SHIFT = 128
"""What is added to the codes of an input that may be negative."""


def write_unsigned(graph: onnx.GraphProto) -> None:
    """Write the int8 codes of all rounded inputs as uint8, in place.

    An input that is never negative keeps its codes, 0 to 127: it is cut at the range before it is rounded, as int8
    would cut it. Then even a kernel that adds two products in 16 bits cannot overflow: 2 · 127 · 127 < 32768. The codes
    of any other input are moved by 128.

    Args:
        graph: a graph with pairs of QuantizeLinear and DequantizeLinear. Where int8 codes go to anything but a
            DequantizeLinear they stay as they are.
    """
    wiring, nodes = Wiring(graph), list[onnx.NodeProto]()
    # All are known before the first one is written, because it changes what the others are known by.
    rounded = _rounded(graph, wiring)
    for node in graph.node:
        if node.output[0] in rounded:
            scale, unsigned = rounded[node.output[0]]
            if unsigned:
                nodes.append(_cut(graph, node, scale))
            zero = _zero(graph, node, 0 if unsigned else SHIFT)
            for reader in (node, *wiring.readers[node.output[0]]):
                reader.input[2] = zero
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    # What the file notes of their types is no longer true.
    notes = [value for value in graph.value_info if value.name not in rounded]
    del graph.value_info[:]
    graph.value_info.extend(notes)


def _rounded(graph: onnx.GraphProto, wiring: Wiring) -> dict[str, tuple[np.ndarray, bool]]:
    """Tensors of int8 codes that only DequantizeLinear nodes read: their scale, and whether they have no sign."""
    found, signs, given = {}, Signs(wiring), {value.name for value in graph.output}
    for node in graph.node:
        if not is_operator(node, "QuantizeLinear") or node.output[0] in given or not is_symmetric(node, wiring):
            continue
        scale, zero = (wiring.constant(name) for name in node.input[1:3])
        if scale is not None and zero is not None and zero.dtype == np.int8:
            found[node.output[0]] = scale, signs.never_negative(node.input[0])
    return found


def _cut(graph: onnx.GraphProto, quantize: onnx.NodeProto, scale: np.ndarray) -> onnx.NodeProto:
    """A node that cuts what ``quantize`` reads at zero and at the range."""
    limits = [f"{quantize.output[0]}.{end}" for end in ("lowest", "largest")]
    for name, value in zip(limits, (np.zeros_like(scale), LARGEST * scale), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, scale.dtype), name))
    cut = f"{quantize.output[0]}.cut"
    node = onnx.helper.make_node("Clip", [quantize.input[0], *limits], [cut], f"{quantize.name}/Clip")
    quantize.input[0] = cut
    return node


def _zero(graph: onnx.GraphProto, quantize: onnx.NodeProto, value: int) -> str:
    """The name of a new zero point for what ``quantize`` makes."""
    name = f"{quantize.output[0]}.unsigned"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.uint8), name))
    return name
