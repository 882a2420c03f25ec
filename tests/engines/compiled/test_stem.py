"""The first convolution on blocks of pixels."""

import pytest
import torch
from torch import Tensor, nn

from engines.compiled.conv_relu import fuse_conv_relu
from engines.compiled.stem import block_stem, block_weight
from tests.support.tiny_families import MASK_HEADS
from tests.support.tolerances import assert_near
from tests.support.traced_parts import export_module, targets, traced_family

CONV = torch.ops.aten.conv2d.default


def make_stem(channels: int = 3, size: int = 7, stride: int = 2, padding: int = 3) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels, 8, size, stride=stride, padding=padding).double()


def picture(channels: int = 3, height: int = 22, width: int = 30) -> Tensor:
    return torch.randn(2, channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width"), [(22, 30), (2, 2), (64, 4)])
def test_blocks_give_the_same_map(height: int, width: int) -> None:
    x = picture(height=height, width=width)
    module = export_module(make_stem(), x)
    expected = module(x)
    assert block_stem(module) == 1
    (conv,) = (node for node in module.graph.nodes if node.target is CONV)
    assert len(conv.args) == 3, "stride 1 and no padding"
    assert module(x).shape == expected.shape
    assert_near(module(x), expected, "sums in float64")


def test_the_weight_has_whole_vectors_of_channels_side_by_side() -> None:
    weight = block_weight(make_stem().weight.detach())
    assert weight.shape == (8, 16, 4, 4)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight[:, 12:].count_nonzero() == 0
    assert weight.count_nonzero() == make_stem().weight.count_nonzero(), "the rest is of products with zero"


@pytest.mark.parametrize(
    ("stem", "x"),
    [
        (make_stem(), picture(height=23)),
        (make_stem(), picture(width=31)),
        (make_stem(4), picture(4)),
        (make_stem(size=5), picture()),
        (make_stem(stride=1), picture()),
        (make_stem(padding=2), picture()),
    ],
    ids=["odd height", "odd width", "four channels", "5×5", "stride 1", "other padding"],
)
def test_others_are_left_alone(stem: nn.Conv2d, x: Tensor) -> None:
    module = export_module(stem, x)
    before = targets(module)
    assert block_stem(module) == 0
    assert targets(module) == before


@pytest.mark.parametrize("family", list(MASK_HEADS))
def test_every_detector_has_such_a_stem(family: str) -> None:
    parts = traced_family(family)
    module = parts.copy("features")
    expected = module(*parts.inputs["features"])
    assert block_stem(module) == 1
    assert fuse_conv_relu(module) > 1
    for found, each in zip(module(*parts.inputs["features"]), expected, strict=True):
        assert_near(found, each, "batches")
