"""What a compiled network of OpenVINO executes, and in which types."""

import os
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from refinemask.files import UserError

LINEAR = ("FullyConnected", "MatMul")
EIGHT_BITS = {"u8", "i8"}


class ExecutedLayer(NamedTuple):
    """A convolution or a product of matrices in a compiled network."""

    kind: str
    """OpenVINO's name of the operator."""
    precision: str
    """Type in which it computes, such as ``f32`` or ``u8``."""
    made_of: frozenset[str]
    """Names of the nodes that it was made of: a file's layer, what was fused with it, and OpenVINO's own."""


def executed_layers(network: Any) -> list[ExecutedLayer]:
    """The convolutions and products of matrices of a compiled network."""
    found = []
    for node in network.get_runtime_model().get_ops():
        about = {name: value.astype(str) for name, value in node.get_rt_info().items()}
        kind = about["layerType"]
        if "Convolution" in kind or kind in LINEAR:
            names = about["originalLayersNames"].split(",")
            # OpenVINO splits a layer into its product and its bias, and may forget the name of the whole.
            own = frozenset(name.removesuffix("/WithoutBiases") for name in names)
            found.append(ExecutedLayer(kind, about["runtimePrecision"], own))
    return found


def roi_precisions(network: Any) -> set[str]:
    """The types of the boxes that RoIAlign takes in a compiled network."""
    found = set()
    for node in network.get_runtime_model().get_ops():
        if node.get_rt_info()["layerType"].astype(str) == "ROIAlign":
            boxes = node.input_value(1)
            # Where the boxes were computed in another precision, a reorder converts them.
            if boxes.get_node().get_rt_info()["layerType"].astype(str) == "Reorder":
                boxes = boxes.get_node().input_value(0)
            found.add(boxes.get_element_type().to_string())
    return found


def require_executed(
    network: Any, precision: str, wanted: str, in_8_bits: Collection[str], path: str | os.PathLike[str]
) -> None:
    """Raise a UserError unless a network computes in the types that were asked for.

    Args:
        network: the compiled network.
        precision: what was asked for, for the message.
        wanted: OpenVINO's name of the type of all convolutions that are not in 8 bits.
        in_8_bits: names of the file's layers that must compute in 8 bits.
        path: the file, for the message.
    """
    layers = executed_layers(network)
    _require_8_bits(layers, in_8_bits, path)
    rest = [layer for layer in layers if not layer.made_of & set(in_8_bits)]
    convolutions = {layer.precision for layer in rest if "Convolution" in layer.kind}
    # Products that lead to an output with no convolution on the way stay in fp32.
    products = {layer.precision for layer in rest if layer.kind in LINEAR}
    rois = roi_precisions(network)
    if not in_8_bits and not convolutions:
        raise UserError(f"{path}: OpenVINO computes none of its convolutions; export it again (export.to_onnx)")
    if not convolutions <= {wanted} or not products <= {wanted, "f32"} or not rois <= {"f32"}:
        eight = "int8+fp32" if in_8_bits else "fp32"
        raise UserError(
            f"{path}: {precision} was asked for, but OpenVINO computes convolutions in {_and(convolutions)}, products "
            f"in {_and(products)}, RoI coordinates in {_and(rois)}; "
            f"bf16 needs a CPU with AMX or AVX512_BF16, use --precision {eight}"
        )


def _require_8_bits(layers: Iterable[ExecutedLayer], names: Collection[str], path: str | os.PathLike[str]) -> None:
    found: dict[str, set[str]] = {name: set() for name in names}
    for layer in layers:
        for name in layer.made_of & found.keys():
            found[name].add(layer.precision)
    wrong = [name for name, precisions in found.items() if not precisions or not precisions <= EIGHT_BITS]
    if wrong:
        where = _and(found[wrong[0]]) if found[wrong[0]] else "a way that it does not tell"
        raise UserError(
            f"{path}: int8 was asked for, but OpenVINO computes {len(wrong)} of {len(found)} layers otherwise, such as "
            f"{wrong[0]} in {where}; run it in ONNX Runtime, or run the fp32 file"
        )


def _and(names: Iterable[str]) -> str:
    return " and ".join(sorted(names)) or "none"
