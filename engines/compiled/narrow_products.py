"""Batched products of narrow matrices, as sums of products.

RefineMask's logits are the product of one row of weights for each RoI with its features, of which the last two are
masks. Libraries have slow kernels for a single row, and for a sum of two. Written as sums, they become part of the
kernels around them, and read channels that lie side by side as they lie.
"""

from collections.abc import Iterable
from functools import reduce

import torch
from torch import fx

WIDEST = 4
"""Most elements that are multiplied one by one."""
_aten = torch.ops.aten


def expand_narrow_products(module: fx.GraphModule) -> int:
    """Replace batched products of a single row, and those along up to :data:`WIDEST` elements that nothing else reads.

    Args:
        module: an exported program's module, changed in place.

    Returns:
        The number of products that were replaced.
    """
    narrow = [node for node in module.graph.nodes if _is_narrow(node)]
    for product in narrow:
        elements = _elements(product)
        with module.graph.inserting_before(product):
            left, right = (module.graph.call_function(_aten.to.dtype, (x, torch.float32)) for x in product.args)
            total = (
                _one_by_one(module.graph, left, right, elements)
                if elements <= WIDEST
                else _sum(module.graph, left, right)
            )
            rounded = module.graph.call_function(_aten.to.dtype, (total, product.meta["val"].dtype))
        rounded.meta = dict(product.meta)
        product.replace_all_uses_with(rounded)
    module.graph.eliminate_dead_code()
    module.recompile()
    return len(narrow)


def _one_by_one(graph: fx.Graph, left: fx.Node, right: fx.Node, elements: int) -> fx.Node:
    """Nodes that multiply [R, m, k] by [R, k, n], one of the k at a time."""
    return sum_of_products(
        graph,
        [
            [graph.call_function(_aten.slice.Tensor, (x, dim, place, place + 1)) for x, dim in ((left, 2), (right, 1))]
            for place in range(elements)
        ],
    )


def sum_of_products(graph: fx.Graph, factors: Iterable[Iterable[fx.Node]]) -> fx.Node:
    """Nodes that multiply two factors each, and add the products up."""
    products = (graph.call_function(_aten.mul.Tensor, tuple(each)) for each in factors)
    return reduce(lambda total, product: graph.call_function(_aten.add.Tensor, (total, product)), products)


def _sum(graph: fx.Graph, left: fx.Node, right: fx.Node) -> fx.Node:
    """Nodes that multiply [R, 1, k] by [R, k, n] and sum over the k: [R, 1, n]."""
    column = graph.call_function(_aten.permute.default, (left, [0, 2, 1]))
    terms = graph.call_function(_aten.mul.Tensor, (column, right))
    return graph.call_function(_aten.sum.dim_IntList, (terms, [1], True))


def _elements(product: fx.Node) -> int:
    """Elements that a product sums over."""
    count: int = product.args[0].meta["val"].shape[2]  # type: ignore[union-attr]
    return count


def _is_narrow(node: fx.Node) -> bool:
    """Whether a node is a batched product of a single row or along few elements, of numbers that float32 holds."""
    if node.target is not _aten.bmm.default:
        return False
    value = node.meta["val"]
    if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return False
    return not _is_shared(node.args[1]) if _elements(node) <= WIDEST else value.shape[1] == 1  # type: ignore[arg-type]


def _is_shared(node: fx.Node) -> bool:
    """Whether something else reads a matrix, too: then it is written anyway, and summing it twice costs more."""
    while node.target is _aten.flatten.using_ints and len(node.users) == 1:
        node = node.args[0]  # type: ignore[assignment]
    return len(node.users) > 1
