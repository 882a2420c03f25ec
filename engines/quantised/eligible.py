"""Which quantised layers the integer operators of ONNX Runtime take, and what they need of them."""

import numpy as np
from numpy.typing import NDArray

from engines.quantised.layers import QuantisedLayer, Wiring, attributes, output_axis, scale_axis

LARGEST_SUM = 2**31 - 1
"""The largest 32-bit number."""
LARGEST_CODE = 255
FINEST = 1 / 32
"""Share of a code of the output that a bias may lose by being rounded to the step of the sums."""
NARROW = 64
"""Channels below which a convolution with a kernel is faster in float32 than as a product of patches (measured)."""


def fits(layer: QuantisedLayer, wiring: Wiring) -> bool:
    """Whether the operators compute what this layer does, whatever its codes."""
    node, given = layer.node, attributes(layer.node)
    scale, weight_scale = (wiring.constant(side.input[1]) for side in (layer.quantize, layer.weight))
    if (
        scale is None
        or weight_scale is None
        or scale.ndim
        or {scale.dtype, weight_scale.dtype} != {np.dtype("float32")}
    ):
        return False
    for zero in (layer.quantize.input[2:3], layer.weight.input[2:3]):
        codes = wiring.constant(zero[0]) if zero else None
        if codes is None or codes.dtype != np.int8 or codes.any():
            return False
    outputs = layer.codes.shape[output_axis(node)]
    bias = wiring.constant(node.input[2]) if _has_bias(layer) else np.zeros(outputs)
    if bias is None or bias.shape != (outputs,) or LARGEST_CODE * _magnitudes(layer).max() > LARGEST_SUM:
        return False
    per_channel = weight_scale.ndim == 0 or scale_axis(layer.weight) == output_axis(node)
    if node.op_type == "Conv":
        padded = given.get("auto_pad", b"NOTSET") == b"NOTSET"
        return per_channel and layer.codes.ndim == 4 and given.get("group", 1) == 1 and padded
    factors = given.get("alpha", 1.0), given.get("beta", 1.0), given.get("transA", 0)
    return per_channel and node.op_type == "Gemm" and factors == (1.0, 1.0, 0)


def gains(layer: QuantisedLayer) -> bool:
    """Whether this layer is faster in integers although its output is not rounded."""
    return layer.codes.shape[2:] in ((), (1, 1)) or layer.codes.shape[1] >= NARROW


def bias_codes(layer: QuantisedLayer, wiring: Wiring, step: float) -> NDArray[np.int32] | None:
    """The bias in steps of the layer's sums, zeros if there is none.

    Args:
        step: the scale of the codes that the layer makes.

    Returns:
        None where sums of 32 bits cannot hold it, or where it is so fine that the output would feel its rounding.
    """
    if not _has_bias(layer):
        return np.zeros(len(layer.codes), np.int32)
    bias, scale = (wiring.constant(name) for name in (layer.node.input[2], layer.quantize.input[1]))
    assert bias is not None
    assert scale is not None
    steps = scale.astype(np.float64) * weight_scales(layer, wiring)
    codes = np.rint(bias.astype(np.float64) / steps)
    lost = np.abs(codes * steps - bias) / step
    fits_sums = np.abs(codes) + LARGEST_CODE * _magnitudes(layer) <= LARGEST_SUM
    return codes.astype(np.int32) if (fits_sums & (lost <= FINEST)).all() else None


def weight_scales(layer: QuantisedLayer, wiring: Wiring) -> NDArray[np.float32]:
    """The scales of the weight, one for each output."""
    scales = wiring.constant(layer.weight.input[1])
    assert scales is not None
    return np.broadcast_to(scales, layer.codes.shape[output_axis(layer.node)]).copy()


def _has_bias(layer: QuantisedLayer) -> bool:
    return len(layer.node.input) > 2 and bool(layer.node.input[2])


def _magnitudes(layer: QuantisedLayer) -> NDArray[np.int64]:
    """The sum of the magnitudes of each output's weights."""
    others = tuple(axis for axis in range(layer.codes.ndim) if axis != output_axis(layer.node))
    return np.abs(layer.codes.astype(np.int16)).sum(others, dtype=np.int64)
