"""Fully connected layers read channels-last maps as they lie in memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from engines.compiled.flat_linear import keep_channels_last
from tests.support.tolerances import assert_near
from tests.support.traced_parts import export_module, targets, traced_family

LINEAR = torch.ops.aten.linear.default


class Layers(nn.Module):
    """A fully connected layer, and what is done before it."""

    def __init__(self, flatten: Callable[[Tensor], Tensor], columns: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.flatten = flatten
        self.fc = nn.Linear(columns, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flatten(x))


class InputsOfLinears(fx.Interpreter):
    """Runs a graph, and collects what its linear layers read beside the maps that these come from."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.views: list[bool] = []

    def run_node(self, node: fx.Node) -> Any:
        if node.target is LINEAR and isinstance(flat := node.args[0], fx.Node) and "flatten" in str(flat.target):
            source = flat.args[0]
            while "permute" in str(source.target):  # type: ignore[union-attr]
                source = source.args[0]  # type: ignore[union-attr]
            read, made = self.env[flat], self.env[source]  # type: ignore[index]
            self.views.append(read.untyped_storage().data_ptr() == made.untyped_storage().data_ptr())
        return super().run_node(node)


def channels_last(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)


def test_the_weight_is_reordered_instead_of_the_map() -> None:
    x = channels_last(5, 8, 3, 4)
    module = export_module(Layers(lambda x: x.flatten(1), 96), x)
    before = InputsOfLinears(module)
    expected = before.run(x)
    assert keep_channels_last(module) == 1
    after = InputsOfLinears(module)
    assert_near(after.run(x), expected, "exact in float32")
    assert (before.views, after.views) == ([False], [True])


@pytest.mark.parametrize(
    ("flatten", "x", "columns"),
    [
        (lambda x: x.flatten(1), torch.randn(5, 8, 3, 4), 96),
        (lambda x: x.flatten(2), channels_last(5, 8, 3, 4), 12),
        (lambda x: x.flatten(1), channels_last(5, 8, 3, 4).flatten(2), 96),
        (lambda x: x, channels_last(5, 8, 3, 4), 4),
        # Planar and channels last at the same time, so there is nothing to reorder.
        (lambda x: x.flatten(1), channels_last(5, 8, 1, 1), 8),
    ],
    ids=["planar", "each channel", "3-d", "not flat", "one pixel"],
)
def test_others_are_left_alone(flatten: Callable[[Tensor], Tensor], x: Tensor, columns: int) -> None:
    module = export_module(Layers(flatten, columns), x)
    before = targets(module)
    assert keep_channels_last(module) == 0
    assert targets(module) == before


def test_a_weight_that_is_computed_is_left_alone() -> None:
    class Computed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x.flatten(1), x.flatten(1))

    module = export_module(Computed(), channels_last(5, 8, 3, 4))
    assert keep_channels_last(module) == 0


@pytest.mark.parametrize(
    ("family", "part", "layers"),
    [("RefineMask", "boxes", 1), ("HTC", "boxes", 3), ("PointRend", "masks", 1)],
)
def test_the_first_layers_of_a_detector_read_the_pooled_maps_themselves(family: str, part: str, layers: int) -> None:
    parts = traced_family(family)
    module = parts.copy(part)
    with torch.no_grad():
        before = InputsOfLinears(module)
        before.run(*tree_leaves(parts.inputs[part]))
        assert keep_channels_last(module) == layers
        after = InputsOfLinears(module)
        after.run(*tree_leaves(parts.inputs[part]))
    assert before.views == [False] * layers
    assert after.views == [True] * layers
