"""1×1 convolutions of very few channels as sums of products.

Such a convolution reads a few planes and writes hundreds. As products it becomes part of the kernel that goes on with
the result, and nothing of it is written.
"""

import torch
from torch import fx

from engines.compiled.narrow_products import WIDEST, sum_of_products
from engines.compiled.weights import add_constant, value_of

_aten = torch.ops.aten


def expand_narrow_convs(module: fx.GraphModule) -> int:
    """Replace 1×1 convolutions of up to :data:`WIDEST` channels, in place.

    Args:
        module: an exported program's module.

    Returns:
        The number of convolutions that were replaced.
    """
    narrow = [node for node in module.graph.nodes if _is_narrow(module, node)]
    for index, conv in enumerate(narrow):
        x, weight = conv.args[:2]
        planes = value_of(module, weight).float()
        with module.graph.inserting_before(conv):
            wide = module.graph.call_function(_aten.to.dtype, (x, torch.float32))
            factors = []
            for channel in range(planes.shape[1]):
                column = planes[:, channel].reshape(1, -1, 1, 1).clone()
                plane = module.graph.call_function(_aten.slice.Tensor, (wide, 1, channel, channel + 1))
                factors.append((plane, add_constant(module, f"narrow_{index}_{channel}", column)))
            total = sum_of_products(module.graph, factors)
            rounded = module.graph.call_function(_aten.to.dtype, (total, conv.meta["val"].dtype))
        rounded.meta = dict(conv.meta)
        conv.replace_all_uses_with(rounded)
    module.graph.eliminate_dead_code()
    module.recompile()
    return len(narrow)


def _is_narrow(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a plain 1×1 convolution without a bias, of few channels."""
    if node.target is not _aten.conv2d.default or len(node.args) > 2 or node.kwargs:
        return False
    weight = node.args[1]
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return False
    shape = value_of(module, weight).shape
    return shape[1] <= WIDEST and shape[2:] == (1, 1)
