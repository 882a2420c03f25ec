"""A quantised file as OpenVINO computes it right: what is in 8 bits, and what stays in floating point."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx

from engines.openvino.biases import give_biases
from engines.openvino.network import inlined
from engines.openvino.overflow import sums_overflow
from engines.quantised.codes import write_unsigned
from engines.quantised.early_rounding import round_before_joining
from engines.quantised.layers import (
    QuantisedLayer,
    Wiring,
    is_operator,
    is_symmetric,
    output_axis,
    quantised_layers,
    scale_axis,
)
from engines.quantised.overflow import keep_in_float, overflowing_layers
from engines.quantised.sound import require_sound
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import foreign_errors

QUANTISE = "quantise the fp32 export (python -m export.quantize MODEL.onnx -o INT8.onnx)"


@dataclass(frozen=True)
class QuantisedLayers:
    """Names of a file's quantised layers."""

    in_8_bits: frozenset[str] = frozenset()
    """Those that are computed in 8 bits."""
    kept: tuple[str, ...] = ()
    """Those that are computed in floating point on their rounded inputs and weights, because 8 bits would overflow."""

    @property
    def total(self) -> int:
        """Number of the layers."""
        return len(self.in_8_bits) + len(self.kept)


def write_for_openvino(model: onnx.ModelProto, path: str | os.PathLike[str]) -> QuantisedLayers:
    """Write a quantised file so that OpenVINO computes it right, in place; the numbers stay the same.

    Where this CPU's 8-bit kernels overflow, the layers that could overflow are kept from them.

    Args:
        model: the file's model; its functions are not inlined, so that the operators still tell their signs.
        path: the file, for messages.

    Raises:
        UserError: the file has no quantised layer that OpenVINO can compute in 8 bits, or float16 tensors.
    """
    with needed_by(f"{path}: backend 'openvino'"):
        overflow = sums_overflow()
    graph = model.graph
    if any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer):
        raise UserError(f"{path}: is an int8 file of an fp16 export, for TensorRT; for OpenVINO {QUANTISE}")
    with foreign_errors(f"{path}: its quantised layers cannot be read", QUANTISE):
        require_sound(graph, path)
        layers = list(quantised_layers(graph))
        names = [layer.node.name for layer in layers]
        if not names:
            raise UserError(f"{path}: says that it is int8, and has no quantised layer; {QUANTISE}")
        _require_known(graph, layers, path)
        give_biases(graph)
        write_unsigned(graph)
        kept = overflowing_layers(graph) if overflow else []
        keep_in_float(graph, kept)
    if len(kept) == len(names):
        raise UserError(
            f"{path}: this CPU has no VNNI, and 8 bits would overflow in each of its {len(names)} quantised layers; "
            "run it in ONNX Runtime, or run the fp32 file"
        )
    return QuantisedLayers(frozenset(names) - frozenset(kept), tuple(kept))


def _require_known(graph: onnx.GraphProto, layers: Iterable[QuantisedLayer], path: str | os.PathLike[str]) -> None:
    """Raise a UserError where numbers are rounded in a way that OpenVINO is not known to compute as the file says.

    It was wrong with zero points, and with a linear layer's scales along its inputs (seen in OpenVINO 2026.4).
    """
    wiring, known = Wiring(graph), set[str]()
    for layer in layers:
        if layer.node.op_type == "Conv" or not _has_scales_by_input(layer, wiring):
            known.update(layer.weight.output)
    rounding = [node for node in graph.node if is_operator(node, "QuantizeLinear", "DequantizeLinear")]
    for node in rounding:
        zero = wiring.constant(node.input[2]) if len(node.input) > 2 else None
        int8 = zero is not None and zero.dtype == np.int8
        if node.op_type == "QuantizeLinear" and int8 and is_symmetric(node, wiring):
            known.update(node.output, *(reader.output for reader in wiring.readers[node.output[0]]))
    for node in rounding:
        if node.output[0] not in known and node.output[0] in wiring.readers:
            raise UserError(
                f"{path}: {node.name or node.output[0]} rounds in a way that only ONNX Runtime computes as the file "
                f"says; run it there, or {QUANTISE}"
            )


def _has_scales_by_input(layer: QuantisedLayer, wiring: Wiring) -> bool:
    scale, axis = wiring.constant(layer.weight.input[1]), scale_axis(layer.weight) % layer.codes.ndim
    return scale is not None and bool(scale.ndim) and axis != output_axis(layer.node)


def written_for_openvino(
    model: onnx.ModelProto, path: str | os.PathLike[str]
) -> tuple[onnx.ModelProto, QuantisedLayers]:
    """A quantised file's model as OpenVINO gets it, with all functions inlined, and its layers.

    Args:
        model: the file's model, which is changed.
        path: the file, for messages.

    Raises:
        UserError: as :func:`write_for_openvino`, or the functions cannot be inlined.
    """
    layers = write_for_openvino(model, path)
    model = inlined(model, path)
    round_early(model, path)
    return model, layers


def round_early(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Round what :func:`write_for_openvino` has written before it is joined, in place, now that functions are inlined.

    Args:
        model: the file's model, with all functions inlined.
        path: the file, for messages.
    """
    with foreign_errors(f"{path}: its quantised layers cannot be read", QUANTISE):
        round_before_joining(model)
