"""The types in which an engine computes.

A strongly typed build keeps the types of the network, and the network has those of the file. So the parsed network
decides whether a precision is met, or the file where ``trtexec`` parses it. The records of TensorRT's inspector are
free text, and name fused layers as they please: their shares are reported, and decide nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from refinemask.files import FailedCheckError
from refinemask.json_files import checked

Shares = dict[str, dict[str, float]]
"""Share of each type among ``compute`` (convolutions and matrix products), all ``layers`` and all ``tensors``; integers
other than int8 are left out."""

REQUIRED_SHARE = {"fp32": 1.0, "tf32": 1.0, "fp16": 0.9, "bf16": 0.9, "int8": 0.5, "fp8": 0.5}
"""Share of the compute layers that must be in the precision of the file. The others compute in higher precision on
purpose; in int8 and fp8 these include the layers that 8 bits would harm."""
COMPUTE = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
    "MatMul": "MATRIX_MULTIPLY",
}
"""Operators of a file that are compute layers, and the kinds of layers that they become in a parsed network."""
INSPECTED = r"conv|matrix|gemm|matmul"
"""Pattern of the inspector's spellings of compute layers."""
NAMES = {"FLOAT": "fp32", "HALF": "fp16", "FLOAT16": "fp16", "BFLOAT16": "bf16", "FLOAT8E4M3FN": "fp8"}
"""Our names of types in a network and in a file; the others are the same in lower case."""
UNKNOWN = "unknown"
PATTERNS = {
    "fp8": r"fp8|float8",
    "int8": r"int8",
    "bf16": r"bf16|bfloat16",
    "fp16": r"half|fp16|float16",
    "fp32": r"float|fp32|tf32",
    "int64": r"int64",
    "int32": r"int32",
    "bool": r"bool",
}
"""Patterns of the inspector's spellings of the types, specific ones before general ones."""


class Tensors(TypedDict, total=False):
    """What is read of a layer's record."""

    Inputs: list[dict[str, Any]]
    Outputs: list[dict[str, Any]]


class Inspection(TypedDict):
    """What is read of an inspector's JSON."""

    Layers: list[Tensors]


class PrecisionNotMetError(FailedCheckError):
    """The error of an engine that computes in another precision than its file's."""


def require_met(shares: Shares, precision: str, onnx: Path) -> None:
    """Raise :class:`PrecisionNotMetError`, which names the file, unless enough compute layers are in ``precision``."""
    share = shares["compute"].get(precision, 0.0)
    if share < REQUIRED_SHARE[precision]:
        raise PrecisionNotMetError(
            f"{onnx}: {precision} was asked for, but only {share:.0%} of the compute layers are; "
            f"expected {REQUIRED_SHARE[precision]:.0%}; no engine was written"
        )


def as_tf32(shares: Shares) -> Shares:
    """The shares of an engine that may round float32 to TensorFloat-32 in its compute layers.

    Neither a network nor the inspector tells them from those that do not.
    """
    compute = {"tf32" if name == "fp32" else name: share for name, share in shares.get("compute", {}).items()}
    return {**shares, "compute": compute}


def network_shares(trt: Any, network: Any) -> Shares:
    """Shares of the types of a strongly typed network, which the builder keeps.

    A layer that takes a dequantised input computes in the quantised type.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    produced = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    compute, types, tensors = [], [], []
    for layer in layers:
        outputs = [_name(layer.get_output(index).dtype) for index in range(layer.num_outputs)]
        tensors += outputs
        types += outputs[:1]
        if layer.type.name in COMPUTE.values():
            source = produced.get(layer.get_input(0).name, layer)
            quantised = source.type == trt.LayerType.DEQUANTIZE
            compute.append(_name((source if quantised else layer).get_input(0).dtype))
    return _shares(compute, types, tensors)


def file_shares(model: Any) -> Shares:
    """Shares of the types of an exported file, an ``onnx.ModelProto``; the bodies of custom operators are left out.

    A layer that takes a dequantised input computes in the quantised type. A layer whose types the file does not say
    counts as ``unknown``.
    """
    graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    known |= {weight.name: weight.data_type for weight in graph.initializer}
    names = {name: _type_name(number) for name, number in known.items() if number}
    produced = {output: node for node in graph.node for output in node.output}
    compute, types, tensors = [], [], []
    for node in graph.node:
        outputs = [names[output] for output in node.output if output in names]
        tensors += outputs
        types += outputs[:1]
        if node.op_type in COMPUTE and not node.domain:
            source = produced.get(node.input[0])
            # The operators take one type: where the file does not say the input's, it says the weight's.
            operands = source.input[:1] if source and source.op_type == "DequantizeLinear" else node.input[:2]
            compute.append(next((names[operand] for operand in operands if operand in names), UNKNOWN))
    return _shares(compute, types, tensors)


def inspected_layers(content: Any) -> list[dict[str, Any]]:
    """The records of the layers in an inspector's JSON.

    Raises:
        ValueError: the content is something else, as without detailed verbosity, which gives names alone.
    """
    checked(content, Inspection)
    return content["Layers"]


def inspector_shares(layers: Iterable[Mapping[str, Any]]) -> Shares:
    """Shares of the types of a built engine, from the ``Layers`` of its inspector's detailed JSON."""
    compute, types, tensors = [], [], []
    for layer in layers:
        inputs, outputs = ([_tensor_type(tensor) for tensor in layer.get(key, ())] for key in ("Inputs", "Outputs"))
        tensors += outputs
        types += outputs[:1]
        kinds = " ".join(str(layer.get(key, "")) for key in ("LayerType", "ParameterType")).lower()
        if inputs and re.search(INSPECTED, kinds):
            compute.append(inputs[0])
    return _shares(compute, types, tensors)


def _name(dtype: Any) -> str:
    return NAMES.get(dtype.name, dtype.name.lower())


def _type_name(number: int) -> str:
    from onnx import TensorProto

    name = TensorProto.DataType.Name(number)
    return NAMES.get(name, name.lower())


def _tensor_type(tensor: Mapping[str, Any]) -> str:
    description = " ".join(str(value) for key, value in tensor.items() if re.search("datatype|format", key, re.I))
    for name, pattern in PATTERNS.items():
        if re.search(pattern, description, re.I):
            return name
    return "other"


def _shares(compute: list[str], layers: list[str], tensors: list[str]) -> Shares:
    shares = {}
    for key, values in (("compute", compute), ("layers", layers), ("tensors", tensors)):
        # Shape arithmetic in integers says nothing about precision.
        counts = Counter(value for value in values if value in (*REQUIRED_SHARE, UNKNOWN))
        shares[key] = {name: count / counts.total() for name, count in counts.most_common()}
    return shares
