"""1×1 convolutions of very few channels as products."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from engines.compiled.narrow_conv import WIDEST, expand_narrow_convs
from tests.support.tolerances import assert_near
from tests.support.traced_parts import export_module, targets, traced_family

CONV = torch.ops.aten.conv2d.default


class Conv(nn.Module):
    """A convolution of its weight and whatever else is given."""

    def __init__(self, channels: int, size: int = 1, **options: Any) -> None:
        super().__init__()
        weight = torch.randn(16, channels, size, size, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, **self.options)


def traced(module: nn.Module, channels: int, dtype: torch.dtype = torch.float32) -> tuple[fx.GraphModule, Tensor]:
    x = torch.randn(3, channels, 6, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    return export_module(module.to(dtype), x), x


@pytest.mark.parametrize("channels", range(1, WIDEST + 1))
def test_few_channels_are_multiplied_one_by_one(channels: int) -> None:
    module, x = traced(Conv(channels), channels)
    expected = module(x)
    assert expand_narrow_convs(module) == 1
    assert CONV not in targets(module)
    assert targets(module).count(torch.ops.aten.mul.Tensor) == channels
    assert module(x).shape == expected.shape
    assert_near(module(x), expected, "exact in float32")


def test_half_precision_is_rounded_once() -> None:
    module, x = traced(Conv(4), 4, torch.bfloat16)
    weight = module.weight.float()
    assert expand_narrow_convs(module) == 1
    assert module(x).dtype == torch.bfloat16
    exact = F.conv2d(x.float(), weight)  # type: ignore[arg-type]
    assert (module(x) == exact.bfloat16()).float().mean() > 0.99


@pytest.mark.parametrize(
    ("conv", "channels"),
    [
        (Conv(WIDEST + 1), WIDEST + 1),
        (Conv(2, size=3), 2),
        (Conv(2, bias=torch.ones(16)), 2),
        (Conv(2, stride=2), 2),
        (Conv(2, padding=1), 2),
        (Conv(2, groups=2), 4),
    ],
    ids=["wider", "3×3", "with a bias", "strided", "padded", "with groups"],
)
def test_others_are_left_alone(conv: Conv, channels: int) -> None:
    module, _ = traced(conv, channels)
    before = targets(module)
    assert expand_narrow_convs(module) == 0
    assert targets(module) == before


def test_a_weight_that_is_computed_is_left_alone() -> None:
    class Computed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, x[:, :, :1, :1])

    module, _ = traced(Computed(), 2)
    assert expand_narrow_convs(module) == 0


@pytest.mark.parametrize(("family", "read"), [("RefineMask", [2, 4, 4]), ("simple RefineMask", [1, 1, 1])])
def test_the_stages_convolutions_of_masks_become_products(family: str, read: list[int]) -> None:
    """Each stage has two masks, and from the second one on those of the stage before; the simple head has one."""
    masks = traced_family(family).copy("masks")
    channels = [
        node.args[0].meta["val"].shape[1]
        for node in masks.graph.nodes
        if node.target is CONV and len(node.args) == 2 and node.args[0].meta["val"].shape[1] <= WIDEST
    ]
    products = targets(masks).count(torch.ops.aten.mul.Tensor)
    assert expand_narrow_convs(masks) == 3
    assert channels == read
    assert targets(masks).count(torch.ops.aten.mul.Tensor) == products + sum(channels)
