"""Layers that read the same input, as one layer, where some give no whole vectors.

RPN's two predictors give 3 and 12 channels, the box head's two 81 and 320. Convolutions and products on GPUs compute
such numbers in slower kernels, and each layer reads its input anew. Together, with zeros, they come to whole vectors.
"""

from collections import defaultdict

import torch
from torch import Tensor, fx

from engines.compiled.padded_stages import VECTOR
from engines.compiled.weights import add_constant, value_of

_aten = torch.ops.aten
DIMS = {_aten.conv2d.default: -3, _aten.linear.default: -1}
"""Layers that are joined, and the dimension of their results that is one behind the other then."""


def join_siblings(module: fx.GraphModule) -> int:
    """Join linear layers and plain 1×1 convolutions that read the same input, in place.

    Args:
        module: an exported program's module.

    Returns:
        The number of layers that were joined.
    """
    families = defaultdict(list)
    for node in module.graph.nodes:
        if _is_plain(module, node):
            families[node.target, node.args[0]].append(node)
    joined = [layers for layers in families.values() if _gain(module, layers)]
    for index, layers in enumerate(joined):
        _join(module, layers, index)
    module.graph.eliminate_dead_code()
    module.recompile()
    return sum(map(len, joined))


def _join(module: fx.GraphModule, layers: list[fx.Node], index: int) -> None:
    first, dim = layers[0], DIMS[layers[0].target]  # type: ignore[index]
    with module.graph.inserting_before(first):
        constants = [
            add_constant(
                module, f"joined_{index}_{place}", _stacked([_constant(module, layer, place) for layer in layers])
            )
            for place in (1, 2)
        ]
        together = module.graph.call_function(first.target, (first.args[0], *constants))  # type: ignore[arg-type]
        end = 0
        for layer in layers:
            begin, end = end, end + _width(module, layer)
            part = module.graph.call_function(_aten.slice.Tensor, (together, dim, begin, end))
            part.meta = dict(layer.meta)
            layer.replace_all_uses_with(part)


def _stacked(values: list[Tensor]) -> Tensor:
    """Weights or biases one behind the other, filled up with zeros."""
    zeros = -sum(map(len, values)) % VECTOR
    return torch.cat([*values, values[0].new_zeros(zeros, *values[0].shape[1:])])


def _gain(module: fx.GraphModule, layers: list[fx.Node]) -> bool:
    return len(layers) > 1 and any(_width(module, layer) % VECTOR for layer in layers)


def _constant(module: fx.GraphModule, layer: fx.Node, place: int) -> Tensor:
    """A layer's weight, at place 1, or its bias."""
    value: Tensor = value_of(module, layer.args[place])  # type: ignore[arg-type]
    return value


def _width(module: fx.GraphModule, layer: fx.Node) -> int:
    return len(_constant(module, layer, 2))


def _is_plain(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a linear layer, or a 1×1 convolution of stride 1, with a bias."""
    if node.target not in DIMS or len(node.args) != 3 or node.kwargs:
        return False
    if not all(isinstance(constant, fx.Node) and constant.op == "get_attr" for constant in node.args[1:]):
        return False
    return _constant(module, node, 1).shape[2:] in ((), (1, 1))
