"""Fully connected layers that read flattened maps, in the order in which channels-last maps lie in memory."""

import torch
from torch import fx

from engines.compiled.weights import add_constant, value_of

_aten = torch.ops.aten


def keep_channels_last(module: fx.GraphModule) -> int:
    """Reorder the weights of linear layers behind a channels-last map, in place, instead of reordering the map.

    Args:
        module: an exported program's module.

    Returns:
        The number of layers whose weights were reordered.
    """
    layers = [node for node in module.graph.nodes if _reads_flattened_map(node)]
    for index, linear in enumerate(layers):
        flat, weight = linear.args[:2]
        x = flat.args[0]
        channels, height, width = x.meta["val"].shape[1:]
        reordered = value_of(module, weight).unflatten(1, (channels, height, width)).permute(0, 2, 3, 1).flatten(1)
        with module.graph.inserting_before(linear):
            last = module.graph.call_function(_aten.permute.default, (x, [0, 2, 3, 1]))
            rows = module.graph.call_function(_aten.flatten.using_ints, (last, 1))
            constant = add_constant(module, f"channels_last_{index}", reordered.contiguous())
        linear.args = (rows, constant, *linear.args[2:])
    module.graph.eliminate_dead_code()
    module.recompile()
    return len(layers)


def _reads_flattened_map(node: fx.Node) -> bool:
    if node.target is not _aten.linear.default:
        return False
    flat, weight = node.args[:2]
    if not (isinstance(flat, fx.Node) and isinstance(weight, fx.Node) and weight.op == "get_attr"):
        return False
    if flat.target is not _aten.flatten.using_ints or tuple(flat.args[1:]) != (1,):
        return False
    x = flat.args[0].meta["val"]  # type: ignore[union-attr]
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
