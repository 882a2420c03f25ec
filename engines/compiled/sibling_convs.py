"""1×1 convolutions of one map that give few channels, as one convolution.

RPN's two predictors give 3 and 12 channels. Convolutions on GPUs compute such numbers in slower kernels, and each reads
the whole map. Together, with channels of zeros, they come to whole vectors and read it once.
"""

from collections import defaultdict

import torch
from torch import fx

from engines.compiled.padded_stages import VECTOR
from engines.compiled.weights import add_constant, value_of

_aten = torch.ops.aten


def join_sibling_convs(module: fx.GraphModule) -> int:
    """Join plain 1×1 convolutions that read the same map and give no whole vectors of channels, in place.

    Args:
        module: an exported program's module.

    Returns:
        The number of convolutions that were joined.
    """
    siblings = defaultdict(list)
    for node in module.graph.nodes:
        if _is_uneven(module, node):
            siblings[node.args[0]].append(node)
    families = [convs for convs in siblings.values() if len(convs) > 1]
    for index, convs in enumerate(families):
        _join(module, convs, index)
    module.graph.eliminate_dead_code()
    module.recompile()
    return sum(map(len, families))


def _join(module: fx.GraphModule, convs: list[fx.Node], index: int) -> None:
    weights, biases = ([value_of(module, conv.args[place]) for conv in convs] for place in (1, 2))  # type: ignore[arg-type]
    channels = [len(bias) for bias in biases]
    zeros = -sum(channels) % VECTOR
    weight = torch.cat([*weights, weights[0].new_zeros(zeros, *weights[0].shape[1:])])
    bias = torch.cat([*biases, biases[0].new_zeros(zeros)])
    first = min(convs, key=list(module.graph.nodes).index)
    with module.graph.inserting_before(first):
        constants = [
            add_constant(module, f"joined_{index}_{name}", value.contiguous(memory_format=layout))
            for name, value, layout in (
                ("weight", weight, torch.channels_last),
                ("bias", bias, torch.contiguous_format),
            )
        ]
        joined = module.graph.call_function(_aten.conv2d.default, (first.args[0], *constants))
        ends = [sum(channels[: place + 1]) for place in range(len(channels))]
        for conv, count, end in zip(convs, channels, ends, strict=True):
            part = module.graph.call_function(_aten.slice.Tensor, (joined, 1, end - count, end))
            part.meta = dict(conv.meta)
            conv.replace_all_uses_with(part)


def _is_uneven(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a 1×1 convolution with a bias and nothing else, of channels that are no whole vectors."""
    if node.target is not _aten.conv2d.default or len(node.args) != 3 or node.kwargs:
        return False
    if not all(isinstance(constant, fx.Node) and constant.op == "get_attr" for constant in node.args[1:]):
        return False
    shape = value_of(module, node.args[1]).shape  # type: ignore[arg-type]
    return shape[2:] == (1, 1) and shape[0] % VECTOR != 0
