"""Layers that read the same input as one layer."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from engines.compiled.conv_relu import fuse_conv_relu
from engines.compiled.siblings import join_siblings
from engines.compiled.weights import value_of
from tests.support.tiny_families import MASK_HEADS
from tests.support.tolerances import assert_near
from tests.support.traced_parts import export_module, targets, traced_family

CONV, LINEAR = torch.ops.aten.conv2d.default, torch.ops.aten.linear.default
SLICE = torch.ops.aten.slice.Tensor


class Layers(nn.Module):
    """Layers of a map of eight channels and as many columns, put together by a function."""

    def __init__(self, together: "Together") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.three, self.twelve, self.nine = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 12, 1), nn.Conv2d(8, 9, 1)
        self.eight, self.sixteen = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 16, 1)
        self.wide, self.strided = nn.Conv2d(8, 3, 3), nn.Conv2d(8, 3, 1, stride=2)
        self.plain, self.grouped = nn.Conv2d(8, 3, 1, bias=False), nn.Conv2d(8, 6, 1, groups=2)
        self.five, self.forty = nn.Linear(8, 5), nn.Linear(8, 40)
        self.together = together

    def forward(self, x: Tensor) -> object:
        return self.together(self, x)


Together = Callable[[Layers, Tensor], object]


def traced(together: Together) -> tuple[fx.GraphModule, Tensor]:
    x = torch.randn(2, 8, 6, 8, generator=torch.Generator().manual_seed(1))
    return export_module(Layers(together), x), x


def widths(module: fx.GraphModule) -> list[int]:
    """Numbers of results of all layers, in order."""
    return sorted(len(value_of(module, n.args[1])) for n in module.graph.nodes if n.target in (CONV, LINEAR))


@pytest.mark.parametrize(
    ("together", "joined", "expected"),
    [
        (lambda m, x: (m.three(x), m.twelve(x)), 2, [16]),
        (lambda m, x: (m.three(x), m.twelve(x), m.nine(x)), 3, [24]),
        (lambda m, x: (m.three(x), m.twelve(x), m.three(x + 1)), 2, [3, 16]),
        (lambda m, x: (m.three(y := x + 1), m.twelve(y), m.three(x), m.twelve(x)), 4, [16, 16]),
        (lambda m, x: (m.three(x).relu(), m.twelve(x)), 2, [16]),
        (lambda m, x: (m.three(x), m.eight(x)), 2, [16]),
        (lambda m, x: (m.five(x), m.forty(x)), 2, [48]),
        (lambda m, x: (m.five(x), m.forty(x), m.three(x), m.twelve(x)), 4, [16, 48]),
    ],
    ids=["two", "three", "one map alone", "two maps", "used before the next", "one whole", "linear", "both"],
)
def test_siblings_are_one_layer_of_whole_vectors(together: Together, joined: int, expected: list[int]) -> None:
    module, x = traced(together)
    wanted = module(x)
    assert join_siblings(module) == joined
    assert widths(module) == expected
    for node in module.graph.nodes:
        assert node.target is not SLICE or node.meta["val"].shape in [each.shape for each in wanted], "passes read it"
    for found, each in zip(module(x), wanted, strict=True):
        assert found.shape == each.shape
        assert_near(found, each, "exact in float32")


def test_a_map_without_a_batch_has_its_channels_elsewhere() -> None:
    x = torch.randn(8, 6, 5, generator=torch.Generator().manual_seed(1))
    module = export_module(Layers(lambda m, x: (m.three(x), m.twelve(x))), x)
    wanted = module(x)
    assert join_siblings(module) == 2
    for found, each in zip(module(x), wanted, strict=True):
        assert_near(found, each, "exact in float32")


@pytest.mark.parametrize(
    "together",
    [
        lambda m, x: (m.three(x), m.wide(x)),
        lambda m, x: (m.three(x), m.strided(x)),
        lambda m, x: (m.three(x), m.plain(x)),
        lambda m, x: (m.three(x), m.grouped(x)),
        lambda m, x: (m.eight(x), m.sixteen(x)),
        lambda m, x: (m.three(x), m.five(x)),
        lambda m, x: (m.three(x), m.twelve(x + 1)),
        lambda m, x: (m.three(x), F.conv2d(x, m.twelve.weight, x[0, :, 0, :1].sum(0).expand(12))),
    ],
    ids=["3×3", "strided", "no bias", "groups", "all whole", "other kinds", "other maps", "computed bias"],
)
def test_others_are_left_alone(together: Together) -> None:
    module, _ = traced(together)
    before = targets(module)
    assert join_siblings(module) == 0
    assert targets(module) == before


@pytest.mark.parametrize("family", list(MASK_HEADS))
def test_predictors_of_a_detector_are_joined(family: str) -> None:
    parts = traced_family(family)
    module = parts.copy("boxes")
    fuse_conv_relu(module)
    wanted = module(*parts.inputs["boxes"])
    convs, linears = (targets(module).count(target) for target in (CONV, LINEAR))
    # The predictors of five levels, and those of every stage of the box head.
    assert join_siblings(module) >= 10
    assert targets(module).count(CONV) == convs - 5
    assert targets(module).count(LINEAR) < linears
    for found, each in zip(module(*parts.inputs["boxes"]), wanted, strict=True):
        assert_near(found, each, "batches")
