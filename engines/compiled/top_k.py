"""The selection of the best scores by ``refinemask::top_k``: PyTorch's own takes longer, the longer a row is."""

import torch
from torch import fx

import refinemask.ops.top_k  # noqa: F401  defines the operator

_aten = torch.ops.aten


def use_top_k(module: fx.GraphModule) -> int:
    """Put ``refinemask::top_k`` in the place of each ``topk`` along the rows of a float32 matrix, largest first.

    Args:
        module: an exported program's module, changed in place.

    Returns:
        The number of nodes that were replaced.
    """
    replaced = 0
    for node in [node for node in module.graph.nodes if node.target is _aten.topk.default and _is_taken(node)]:
        with module.graph.inserting_before(node):
            call = module.graph.call_function(torch.ops.refinemask.top_k.default, node.args[:2])
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)
        replaced += 1
    module.recompile()
    return replaced


def _is_taken(node: fx.Node) -> bool:
    """Whether the largest along the rows of a float32 matrix are asked for, in order."""
    names, usual = ("dim", "largest", "sorted"), (-1, True, True)
    given = dict(zip(names, node.args[2:], strict=False)) | node.kwargs
    dim, largest, in_order = (given.get(name, value) for name, value in zip(names, usual, strict=True))
    values, _ = node.meta["val"]
    matrix = values.dim() == 2 and values.dtype == torch.float32
    return bool(matrix and dim in (-1, 1) and largest and in_order)
