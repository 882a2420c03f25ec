"""Computing once what a graph makes of its weights alone."""

from typing import Any

import torch
from torch import Tensor, fx

from engines.compiled.weights import add_constant, value_of


def fold_weights(module: fx.GraphModule) -> None:
    """Replace everything that depends on weights only, such as joined or split ones, by its value, in place.

    4-d values are stored channels last where their weights are.
    """
    values: dict[fx.Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            values[node] = value_of(module, node)
        elif node.op == "call_function" and node.all_input_nodes and all(n in values for n in node.all_input_nodes):
            arguments = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*arguments[0], **arguments[1])
    for index, node in enumerate([node for node in values if node.op != "get_attr"]):
        value = values[node]
        if isinstance(value, Tensor) and any(user not in values for user in node.users):
            _replace(module, node, f"folded_{index}", value)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _replace(module: fx.GraphModule, node: fx.Node, name: str, value: Tensor) -> None:
    last = (value.dim() == 4 and not value.is_contiguous()) or value.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if value.dim() == 4 and last else torch.contiguous_format
    with module.graph.inserting_before(node):
        constant = add_constant(module, name, value.clone(memory_format=layout))
    constant.meta = dict(node.meta)
    node.replace_all_uses_with(constant)
