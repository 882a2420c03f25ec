"""Where 8-bit kernels can overflow, and layers that are kept from them.

A CPU without VNNI adds two products of 8 bits in 16 (the instruction vpmaddubsw), and cuts what does not fit. It is
then wrong by any amount, without a word.
"""

from collections.abc import Collection

import numpy as np
import onnx
import onnx.numpy_helper

from engines.quantised.layers import QuantisedLayer, Wiring, quantised_layers, scale_axis
from engines.quantised.signs import Signs

LARGEST_SUM = 32767
"""The largest 16-bit number."""


def overflowing_layers(graph: onnx.GraphProto) -> list[str]:
    """Names of the layers in which two products of unsigned codes and weights can exceed 16 bits.

    Which two products are added first is the kernel's affair, so any two count.

    Args:
        graph: a graph whose codes :func:`engines.quantised.codes.write_unsigned` has written, or would write.
    """
    wiring = Wiring(graph)
    signs = Signs(wiring)
    return [layer.node.name for layer in quantised_layers(graph) if can_overflow(layer, signs)]


def can_overflow(layer: QuantisedLayer, signs: Signs) -> bool:
    """Whether two products of this layer, its input's codes unsigned, can exceed 16 bits."""
    largest = 127 if signs.never_negative(layer.quantize.input[0]) else 255
    return 2 * largest * int(np.abs(layer.codes.astype(np.int16)).max(initial=0)) > LARGEST_SUM


def keep_in_float(graph: onnx.GraphProto, names: Collection[str]) -> None:
    """Restore the weights of these layers in the file, in place, so that a runtime computes them in floating point.

    The numbers stay the same: inputs and weights are still rounded to 8 bits.
    """
    wiring, written = Wiring(graph), set[str]()
    for layer in list(quantised_layers(graph)):
        if layer.node.name not in names:
            continue
        name = f"{layer.node.input[1]}.float"
        if name not in written:
            graph.initializer.append(onnx.numpy_helper.from_array(_restored(layer, wiring), name))
            written.add(name)
        layer.node.input[1] = name


def _restored(layer: QuantisedLayer, wiring: Wiring) -> np.ndarray:
    """The weight as its DequantizeLinear makes it."""
    scale = wiring.constant(layer.weight.input[1])
    assert scale is not None
    shape = [1] * layer.codes.ndim
    if scale.ndim:
        shape[scale_axis(layer.weight)] = -1
    return layer.codes.astype(scale.dtype) * scale.reshape(shape)
