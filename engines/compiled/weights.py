"""Constants of a traced graph."""

from typing import Any

from torch import Tensor, fx


def value_of(module: fx.GraphModule, node: fx.Node) -> Any:
    """The weight that a ``get_attr`` node reads."""
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value


def add_constant(module: fx.GraphModule, name: str, value: Tensor) -> fx.Node:
    """A node, at the graph's insertion point, that reads a new constant; its name grows where another has it."""
    while hasattr(module, name):
        name += "_"
    module.register_buffer(name, value)
    return module.graph.get_attr(name)
