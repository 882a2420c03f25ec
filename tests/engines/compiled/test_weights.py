"""Constants of a traced graph."""

import torch
from torch import fx

from engines.compiled.weights import add_constant, value_of


def test_constants_of_the_same_name_stay_apart() -> None:
    graph = fx.Graph()
    module = fx.GraphModule({}, graph)
    values = [torch.tensor(float(number)) for number in range(3)]
    nodes = [add_constant(module, "weight", value) for value in values]
    assert nodes[0].target == "weight"
    assert all(value_of(module, node) is value for node, value in zip(nodes, values, strict=True))
