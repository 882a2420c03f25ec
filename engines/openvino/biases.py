"""Biases of quantised layers that have none, without which OpenVINO gives wrong numbers.

OpenVINO moves what restores the scale of an 8-bit layer behind the operators that read it. Where a layer has no bias,
and both a QuantizeLinear and an operator such as Reshape or MaxPool read what follows it, the QuantizeLinear gets
numbers whose scale is not restored, if the size of the batch is not known (OpenVINO 2026.4). A bias keeps the scale
before the layer's readers.
"""

import numpy as np
import onnx
import onnx.numpy_helper

from engines.quantised.layers import Wiring, output_axis, quantised_layers

NEGLIGIBLE = 1e-30
"""A bias that changes no number, and is not removed as a zero is."""
WITH_BIAS = ("Conv", "Gemm")
"""Operators that take a bias."""


def give_biases(graph: onnx.GraphProto) -> None:
    """Give a negligible bias to the quantised layers that have none, or only zeros, in place."""
    wiring = Wiring(graph)
    for layer in list(quantised_layers(graph)):
        bias = wiring.constant(layer.node.input[2]) if len(layer.node.input) > 2 else None
        if layer.node.op_type not in WITH_BIAS or (bias is not None and bias.any()) or _computed(layer.node, wiring):
            continue
        name = f"{layer.node.output[0]}.bias"
        values = np.full(layer.codes.shape[output_axis(layer.node)], NEGLIGIBLE, np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        del layer.node.input[2:]
        layer.node.input.append(name)


def _computed(node: onnx.NodeProto, wiring: Wiring) -> bool:
    """Whether the bias of a layer is no constant."""
    return len(node.input) > 2 and bool(node.input[2]) and node.input[2] not in wiring.constants
