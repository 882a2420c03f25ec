"""Quantised layers as the integer operators of ONNX Runtime, which computes the file's own form in floating point.

Two operators are right and fast (docs/decisions/integer-kernels.md). A convolution whose output is only rounded becomes
a QLinearConv, which writes codes. Any other layer becomes a MatMulIntegerToFloat, whose output is float32 as in the
file. Both keep the channels last. ONNX Runtime moves the transposes between them out of the way.
"""

from collections.abc import Container

import numpy as np
import onnx
import onnx.helper
from numpy.typing import NDArray

from engines.quantised.codes import LARGEST, SHIFT
from engines.quantised.eligible import bias_codes, fits, gains, weight_scales
from engines.quantised.layers import (
    MICROSOFT,
    QuantisedLayer,
    Wiring,
    attributes,
    is_operator,
    output_axis,
    quantised_layers,
)
from engines.quantised.new_nodes import NewNodes
from engines.quantised.overflow import can_overflow
from engines.quantised.patches import patches
from engines.quantised.signs import Signs

CHANNELS_LAST, CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def write_integer(model: onnx.ModelProto, *, saturates: bool) -> list[str]:
    """Write the int8 layers of a model as integer operators of ONNX Runtime, in place.

    The numbers stay those of the file, up to the rounding of float32 sums, and of a bias to the step of a layer's sums.

    Args:
        model: a model with pairs of QuantizeLinear and DequantizeLinear. Layers whose scales are not float32 stay.
        saturates: whether the kernels add two products in 16 bits; then layers where these do not fit stay, too.

    Returns:
        Names of the layers written, in the order of the graph.
    """
    writer = _Writer(model.graph, saturates)
    if writer.layers:
        writer.write()
        if all(found.domain != MICROSOFT for found in model.opset_import):
            model.opset_import.append(onnx.helper.make_opsetid(MICROSOFT, 1))
    return [layer.node.name for layer in reversed(writer.layers.values())]


class _Writer:
    """Writes one graph anew, node by node."""

    def __init__(self, graph: onnx.GraphProto, saturates: bool) -> None:
        self.graph = graph
        self.new = NewNodes(graph)
        self.wiring = Wiring(graph)
        self.signs = Signs(self.wiring)
        self.layers: dict[str, QuantisedLayer] = {}
        """The layers that are written, by their outputs, the last one first."""
        self.fused: dict[str, list[onnx.NodeProto]] = {}
        """The nodes between a layer and the codes that it makes itself, by its output."""
        self.ranks: dict[str, int] = {}
        """Dimensions of the tensors of codes that the layers read, by the outputs of their QuantizeLinear nodes."""
        # Backwards: whether a layer makes codes depends on who reads them.
        for layer in reversed(list(quantised_layers(graph))):
            if not fits(layer, self.wiring) or (saturates and can_overflow(layer, self.signs)):
                continue
            output, nodes = layer.node.output[0], self._rounding(layer, self.ranks)
            if nodes or gains(layer):
                self.layers[output] = layer
                self.ranks[layer.quantize.output[0]] = layer.codes.ndim
            if nodes:
                self.fused[output] = nodes

    def write(self) -> None:
        done = {node.output[0] for nodes in self.fused.values() for node in nodes}
        for node in self.graph.node:
            output = node.output[0]
            if output in self.fused:
                self._convolve(self.layers[output], self.fused[output][-1])
            elif output in self.layers:
                self._multiply(self.layers[output])
            elif output in self.ranks and output not in done:
                self._round(node)
            elif node.op_type == "DequantizeLinear" and node.input[0] in self.ranks:
                self._restore(node)
            elif output not in done:
                self.new.nodes.append(node)
        self.new.replace()

    def _rounding(self, layer: QuantisedLayer, rounded: Container[str]) -> list[onnx.NodeProto]:
        """A ReLU if there is one, and the QuantizeLinear that alone reads what this convolution makes."""
        nodes = []
        node = self._only_reader(layer.node.output[0])
        if node is not None and is_operator(node, "Relu"):
            nodes.append(node)
            node = self._only_reader(node.output[0])
        if node is None or node.op_type != "QuantizeLinear" or node.output[0] not in rounded:
            return []
        # A ReLU needs no node: its codes have no sign, and are cut at zero.
        return [*nodes, node] if layer.node.op_type == "Conv" and self._bias(layer, node) is not None else []

    def _bias(self, layer: QuantisedLayer, quantize: onnx.NodeProto) -> NDArray[np.int32] | None:
        step = self.wiring.constant(quantize.input[1])
        return None if step is None else bias_codes(layer, self.wiring, float(step))

    def _only_reader(self, name: str) -> onnx.NodeProto | None:
        readers = self.wiring.readers.get(name, [])
        given = any(value.name == name for value in self.graph.output)
        return readers[0] if len(readers) == 1 and not given else None

    def _convolve(self, layer: QuantisedLayer, quantize: onnx.NodeProto) -> None:
        """A convolution that makes the codes of ``quantize``."""
        name, bias = layer.node.output[0], self._bias(layer, quantize)
        assert bias is not None
        inputs = [
            *(_codes(layer.quantize), layer.quantize.input[1], self._zero(layer.quantize)),
            *(layer.weight.input[0], *self._weight(layer)),
            *(quantize.input[1], self._zero(quantize), self.new.constant(f"{name}.bias", bias)),
        ]
        options = {**attributes(layer.node), "channels_last": 1}
        codes = self.new.add("QLinearConv", inputs, f"{name}.codes", domain=MICROSOFT, **options)
        self._cut(quantize, codes, _codes(quantize))

    def _multiply(self, layer: QuantisedLayer) -> None:
        """A layer that makes float32, as the product of codes [..., inputs] and a matrix [inputs, outputs]."""
        output, codes, source = layer.node.output[0], layer.codes, _codes(layer.quantize)
        convolution = codes.ndim == 4
        matrix = np.moveaxis(codes, output_axis(layer.node), -1)
        if convolution:
            matrix = matrix.transpose(1, 2, 0, 3).reshape(-1, len(codes))
        scales, zeros = self._weight(layer)
        inputs = [
            *(self.new.constant(f"{output}.matrix", np.ascontiguousarray(matrix)), layer.quantize.input[1]),
            *(scales, self._zero(layer.quantize), zeros, *layer.node.input[2:3]),
        ]
        if not convolution:
            self._product(source, inputs, output)
            return
        bands = patches(layer, source, self._zero(layer.quantize), self.new)
        products = [self._product(band, inputs, f"{output}.last.{number}") for number, band in enumerate(bands)]
        if len(products) > 1:
            products = [self.new.add("Concat", products, f"{output}.last", axis=1)]
        self.new.add("Transpose", products, output, perm=CHANNELS_FIRST)

    def _product(self, source: str, inputs: list[str], output: str) -> str:
        return self.new.add("MatMulIntegerToFloat", [source, *inputs], output, domain=MICROSOFT)

    def _round(self, quantize: onnx.NodeProto) -> None:
        """The codes of a tensor that is made in float32."""
        name = quantize.output[0]
        inputs = [*quantize.input[:2], self._zero(quantize)]
        codes = self.new.add("QuantizeLinear", inputs, f"{name}.uncut")
        if self.ranks[name] == 2:
            self._cut(quantize, codes, _codes(quantize))
        else:
            # Behind the rounding: before it, ONNX Runtime would round for other readers of the tensor, too.
            self._cut(quantize, codes, f"{name}.first")
            self.new.add("Transpose", [f"{name}.first"], _codes(quantize), perm=CHANNELS_LAST)

    def _cut(self, quantize: onnx.NodeProto, codes: str, output: str) -> None:
        """The codes as the file has them: without a sign at most 127."""
        if not self._unsigned(quantize):
            self.new.add("Identity", [codes], output)
            return
        limit = self.new.constant(f"{quantize.output[0]}.largest", np.array(LARGEST, np.uint8))
        self.new.add("Clip", [codes, "", limit], output)

    def _restore(self, restore: onnx.NodeProto) -> None:
        """The numbers of codes, for layers that compute in float32."""
        quantize, output = self.wiring.producers[restore.input[0]], restore.output[0]
        codes = _codes(quantize)
        if self.ranks[quantize.output[0]] == 4:
            codes = self.new.add("Transpose", [codes], f"{output}.first", perm=CHANNELS_FIRST)
        self.new.add("DequantizeLinear", [codes, restore.input[1], self._zero(quantize)], output)

    def _unsigned(self, quantize: onnx.NodeProto) -> bool:
        return self.signs.never_negative(quantize.input[0])

    def _zero(self, quantize: onnx.NodeProto) -> str:
        value = 0 if self._unsigned(quantize) else SHIFT
        return self.new.constant(f"{quantize.output[0]}.unsigned", np.array(value, np.uint8))

    def _weight(self, layer: QuantisedLayer) -> tuple[str, str]:
        """The scales and the zero points of a layer's weight, one for each output."""
        scales, name = weight_scales(layer, self.wiring), layer.node.output[0]
        zeros = self.new.constant(f"{name}.zeros", np.zeros(scales.shape, np.int8))
        return self.new.constant(f"{name}.scales", scales), zeros


def _codes(quantize: onnx.NodeProto) -> str:
    return f"{quantize.output[0]}.codes"
