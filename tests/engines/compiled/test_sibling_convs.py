"""1×1 convolutions of one map as one convolution."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from engines.compiled.sibling_convs import join_sibling_convs
from tests.support.tiny_families import MASK_HEADS
from tests.support.tolerances import assert_near
from tests.support.traced_parts import export_module, targets, traced_family

CONV, SLICE = torch.ops.aten.conv2d.default, torch.ops.aten.slice.Tensor


class Layers(nn.Module):
    """Convolutions of a map of four channels, put together by a function."""

    def __init__(self, together: "Together") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.three, self.twelve, self.nine = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 12, 1), nn.Conv2d(4, 9, 1)
        self.eight, self.sixteen = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 16, 1)
        self.wide, self.strided = nn.Conv2d(4, 3, 3), nn.Conv2d(4, 3, 1, stride=2)
        self.plain, self.grouped = nn.Conv2d(4, 3, 1, bias=False), nn.Conv2d(4, 6, 1, groups=2)
        self.together = together

    def forward(self, x: Tensor) -> object:
        return self.together(self, x)


Together = Callable[[Layers, Tensor], object]


def traced(together: Together) -> tuple[fx.GraphModule, Tensor]:
    x = torch.randn(2, 4, 6, 7, generator=torch.Generator().manual_seed(1))
    return export_module(Layers(together), x), x


@pytest.mark.parametrize(
    ("together", "joined", "channels"),
    [
        (lambda m, x: (m.three(x), m.twelve(x)), 2, [16]),
        (lambda m, x: (m.three(x), m.twelve(x), m.nine(x)), 3, [24]),
        (lambda m, x: (m.three(x), m.twelve(x), m.three(x + 1), m.twelve(x + 1)), 2, [16, 3, 12]),
        (lambda m, x: (m.three(y := x + 1), m.twelve(y), m.three(x), m.twelve(x)), 4, [16, 16]),
        (lambda m, x: (m.three(x), m.eight(x), m.twelve(x)), 2, [16, 8]),
    ],
    ids=["two", "three", "of one map alone", "of two maps", "whole vectors beside them"],
)
def test_siblings_are_one_convolution_of_whole_vectors(together: Together, joined: int, channels: list[int]) -> None:
    module, x = traced(together)
    expected = module(x)
    assert join_sibling_convs(module) == joined
    widths = [node.args[1] for node in module.graph.nodes if node.target is CONV]
    assert sorted(len(module.get_parameter_or_buffer(str(w.target))) for w in widths) == sorted(channels)
    for found, wanted in zip(module(x), expected, strict=True):
        assert_near(found, wanted, "exact in float32")
