"""Products of matrices along very few elements, as sums of products of rows and columns.

RefineMask's logits are products of each RoI's weights with its features, of which the last two are masks. A product
along two elements costs a library's slow kernel and two writes; sums are part of the kernel that goes on with them.
"""

import torch
from torch import fx

WIDEST = 4
"""Most elements that are multiplied one by one."""
_aten = torch.ops.aten


def expand_narrow_products(module: fx.GraphModule) -> int:
    """Replace batched products along up to :data:`WIDEST` elements, in place.

    Args:
        module: an exported program's module.

    Returns:
        The number of products that were replaced.
    """
    narrow = [node for node in module.graph.nodes if _is_narrow(node)]
    for product in narrow:
        with module.graph.inserting_before(product):
            rounded = _sum_of_products(module.graph, product)
        rounded.meta = dict(product.meta)
        product.replace_all_uses_with(rounded)
    module.graph.eliminate_dead_code()
    module.recompile()
    return len(narrow)


def _sum_of_products(graph: fx.Graph, product: fx.Node) -> fx.Node:
    """Nodes that multiply [R, m, k] by [R, k, n] in float32, one of the k at a time, and round once."""
    left, right = (graph.call_function(_aten.to.dtype, (side, torch.float32)) for side in product.args)
    total = None
    for place in range(product.args[0].meta["val"].shape[2]):  # type: ignore[union-attr]
        column, row = (
            graph.call_function(_aten.slice.Tensor, (side, dim, place, place + 1))
            for side, dim in ((left, 2), (right, 1))
        )
        term = graph.call_function(_aten.mul.Tensor, (column, row))
        total = term if total is None else graph.call_function(_aten.add.Tensor, (total, term))
    return graph.call_function(_aten.to.dtype, (total, product.meta["val"].dtype))


def _is_narrow(node: fx.Node) -> bool:
    """Whether a node is a batched product of real numbers along few elements, and not of single numbers."""
    if node.target is not _aten.bmm.default:
        return False
    value = node.meta["val"]
    # Double precision would lose half its digits.
    return value.dtype in (torch.float32, torch.float16, torch.bfloat16) and node.args[0].meta["val"].shape[2] <= WIDEST  # type: ignore[union-attr]
