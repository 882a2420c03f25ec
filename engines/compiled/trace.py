"""A module as the graph that PyTorch exports."""

from typing import Any

import torch
from torch import fx, nn

LEFTOVERS = (torch.ops.aten._assert_tensor_metadata.default, torch.ops.aten.promote_types.default)
"""Nodes without users that an export leaves behind; a compiler trips over them."""


def trace(module: nn.Module, arguments: tuple[Any, ...], dynamic_shapes: Any = None) -> fx.GraphModule:
    """The module's graph with its weights, for inputs of the arguments' shapes.

    Args:
        module: a module for inference.
        arguments: example inputs.
        dynamic_shapes: sizes that may vary, as ``torch.export.export`` takes them.
    """
    program = torch.export.export(module.eval(), arguments, dynamic_shapes=dynamic_shapes, strict=False)
    for node in reversed(list(program.graph.nodes)):
        if node.target in LEFTOVERS and not node.users:
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program.module(check_guards=False)
