"""Small quantised networks whose weights and inputs are as large as 8 bits allow."""

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from numpy.typing import NDArray
from onnx import TensorProto

SCALE = 0.05
"""Step of the inputs."""
CHANNELS = 16


def extreme_network(operator: str, *, relu: bool, signs: str = "random") -> onnx.ModelProto:
    """A network of one quantised layer, ``y = layer(x)``, behind a ReLU or not.

    Every weight has the code 127 or −127, so that sums of two products do not fit into 16 bits.

    Args:
        operator: ``Conv`` (3×3, x is [1, 16, 8, 8]) or ``Gemm`` (x is [8, 16]).
        relu: whether the layer reads what a ReLU made.
        signs: ``random``, or ``positive`` for weights without a sign.
    """
    random = np.random.default_rng(0)
    shape = (CHANNELS, CHANNELS, 3, 3) if operator == "Conv" else (CHANNELS, CHANNELS)
    codes = np.full(shape, 127) if signs == "positive" else 127 * random.choice([-1, 1], shape)
    arrays: dict[str, NDArray] = {
        "scale": np.float32(SCALE),
        "zero": np.int8(0),
        "codes": codes.astype(np.int8),
        "scales": (0.01 * (1 + np.arange(CHANNELS))).astype(np.float32),
        "zeros": np.zeros(CHANNELS, np.int8),
        "bias": random.normal(size=CHANNELS).astype(np.float32),
    }
    extra = {"pads": [1, 1, 1, 1]} if operator == "Conv" else {"transB": 1}
    node = onnx.helper.make_node
    nodes = [
        *([node("Relu", ["x"], ["seen"])] if relu else []),
        node("QuantizeLinear", ["seen" if relu else "x", "scale", "zero"], ["rounded"]),
        node("DequantizeLinear", ["rounded", "scale", "zero"], ["restored"]),
        node("DequantizeLinear", ["codes", "scales", "zeros"], ["weight"], axis=0),
        node(operator, ["restored", "weight", "bias"], ["y"], name="layer", **extra),
    ]
    # The layer keeps the shape: 16 channels in and out, and padding.
    shape = extreme_input(operator).shape
    values = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    initializers = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph(nodes, "extreme", values[:1], values[1:], initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def extreme_input(operator: str) -> NDArray[np.float32]:
    """Values in and beyond the range of ±127 steps, half of them negative."""
    shape = (1, CHANNELS, 8, 8) if operator == "Conv" else (8, CHANNELS)
    return np.random.default_rng(1).uniform(-150 * SCALE, 150 * SCALE, shape).astype(np.float32)


def expected(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the network of :func:`extreme_network` gives for ``x``, in float64."""
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor).astype(np.float64) for tensor in model.graph.initializer}
    if model.graph.node[0].op_type == "Relu":
        x = np.maximum(x, 0)
    # Quotients in float32, as ONNX defines them.
    restored = np.clip(np.rint(x / np.float32(SCALE)), -128, 127).astype(np.float64) * arrays["scale"]
    scales = arrays["scales"].reshape(-1, *[1] * (arrays["codes"].ndim - 1))
    weight = arrays["codes"] * scales
    if weight.ndim == 2:
        return restored @ weight.T + arrays["bias"]
    padded = np.pad(restored, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, weight) + arrays["bias"].reshape(-1, 1, 1)
