"""Numbers of a quantised file that no quantiser writes, and by which no runtime computes."""

import os

import numpy as np
import onnx

from engines.quantised.layers import Wiring, is_operator, quantised_layers
from refinemask.files import UserError

AGAIN = "quantise the fp32 export again (python -m export.quantize MODEL.onnx -o INT8.onnx)"
LARGEST_CODE = 255


def require_sound(graph: onnx.GraphProto, path: str | os.PathLike[str]) -> None:
    """Raise a UserError, which names the file, unless all scales and biases are numbers that can be computed with.

    A scale of zero, below zero or denormal rounds to what each runtime likes, and what is not finite becomes any code.

    Args:
        graph: the file's graph.
        path: the file, for the message.
    """
    wiring = Wiring(graph)
    for node in graph.node:
        scale = wiring.constant(node.input[1]) if is_operator(node, "QuantizeLinear", "DequantizeLinear") else None
        if scale is not None and (wrong := _first(scale, ~_usable(scale))):
            name = node.name or node.output[0]
            raise UserError(f"{path}: {name} has the scale {wrong}, expected a normal number above 0; {AGAIN}")
    for layer in quantised_layers(graph):
        bias = wiring.constant(layer.node.input[2]) if len(layer.node.input) > 2 else None
        if bias is not None and (wrong := _first(bias, ~np.isfinite(bias))):
            raise UserError(f"{path}: {layer.node.name} has {wrong} in its bias, expected numbers; {AGAIN}")


def _usable(scale: np.ndarray) -> np.ndarray:
    if not np.issubdtype(scale.dtype, np.floating):
        return np.ones(scale.shape, bool)
    largest = np.finfo(np.float32).max / LARGEST_CODE
    return (scale >= np.finfo(scale.dtype).tiny) & (scale.astype(np.float64) <= largest) & np.isfinite(scale)


def _first(values: np.ndarray, wrong: np.ndarray) -> str:
    """The first of the values that are wrong; empty if none is."""
    return f"{values[wrong][0]:g}" if wrong.any() else ""
