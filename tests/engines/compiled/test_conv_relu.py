"""Convolution, bias, sum and ReLU as one operator: where the pass finds them, and what it must leave alone."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from engines.compiled.conv_relu import conv_relu, fuse_conv_relu
from tests.support.tiny_families import MASK_HEADS
from tests.support.tolerances import assert_near
from tests.support.traced_parts import export_module, targets, traced_family

CONV, RELU, OURS = torch.ops.aten.conv2d.default, torch.ops.aten.relu.default, torch.ops.refinemask.conv_relu.default
ADD = torch.ops.aten.add.Tensor


class Layers(nn.Module):
    """Convolutions of a map of eight channels, put together by a function."""

    def __init__(self, together: "Together") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.strided = nn.Conv2d(8, 8, 3, stride=(2, 1), padding=(2, 1), dilation=(2, 1))
        self.plain = nn.Conv2d(8, 8, 1, bias=False)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.one = nn.Conv2d(8, 1, 1)
        self.together = together

    def forward(self, x: Tensor) -> object:
        return self.together(self, x)


Together = Callable[[Layers, Tensor], object]


def traced(together: Together) -> tuple[fx.GraphModule, Tensor]:
    x = torch.randn(2, 8, 6, 7, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    layers = Layers(together).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return export_module(layers, x), x


def unfused(module: fx.GraphModule) -> list[fx.Node]:
    """ReLUs that directly follow a convolution with a bias, of which nothing else is read."""
    return [
        node
        for node in module.graph.nodes
        if node.target is RELU
        and isinstance(conv := node.args[0], fx.Node)
        and conv.target is CONV
        and len(conv.args) > 2
        and conv.args[2] is not None
        and len(conv.users) == 1
    ]


@pytest.mark.parametrize("family", list(MASK_HEADS))
def test_no_relu_of_a_detector_follows_a_convolution_with_a_bias(family: str) -> None:
    for part in ("features", "boxes", "image_maps", "masks"):
        if part in traced_family(family).modules:
            module = traced_family(family).copy(part)
            before = targets(module)
            fused = fuse_conv_relu(module)
            assert not unfused(module)
            after = targets(module)
            assert after.count(OURS) == before.count(CONV) - after.count(CONV) == fused
            assert after.count(RELU) == before.count(RELU) - fused


def test_residual_blocks_are_fused_with_their_sum() -> None:
    module = traced_family("RefineMask").copy("features")
    assert len(unfused(module)) == 9
    assert fuse_conv_relu(module) == 13
    sums = [node for node in module.graph.nodes if node.target is OURS and node.args[3] is not None]
    assert len(sums) == 4, "one for each block of the backbone"


@pytest.mark.parametrize(
    "together",
    [
        lambda m, x: F.relu(m.a(x)),
        lambda m, x: F.relu(m.strided(x)),
        lambda m, x: F.relu(m.a(x) + x),
        lambda m, x: F.relu(x + m.a(x)),
        lambda m, x: F.relu(m.a(x) + m.b(x)),
        lambda m, x: F.relu(m.plain(x) + m.a(x)),
        lambda m, x: F.relu(m.grouped(x) + m.a(x)),
    ],
    ids=["alone", "strided", "sum", "sum the other way", "of two", "without a bias", "with groups"],
)
def test_one_operator_takes_the_place_of_all(together: Together) -> None:
    module, x = traced(together)
    expected = module(x)
    assert fuse_conv_relu(module) == 1
    assert RELU not in targets(module)
    assert ADD not in targets(module)
    # Two biases are summed in another order.
    assert_near(module(x), expected, "exact in float32")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("summed", [False, True])
def test_the_result_is_channels_last_as_a_compiler_is_told(
    layout: torch.memory_format, size: int, summed: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 8, 6, 7, generator=generator), torch.randn(8, 8, size, size, generator=generator)
    residual = torch.randn(2, 8, 6, 7, generator=generator).to(memory_format=layout) if summed else None
    tensors = x.to(memory_format=layout), weight.to(memory_format=layout), torch.zeros(8), residual
    geometry = [1, 1], [size // 2] * 2, [1, 1]
    found = conv_relu(*tensors, *geometry)
    with FakeTensorMode() as mode:
        told = conv_relu(*(None if each is None else mode.from_tensor(each) for each in tensors), *geometry)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.stride() == told.stride()
    sums = F.conv2d(*tensors[:3], *geometry)
    assert torch.equal(found, F.relu(sums if residual is None else sums + residual))


def test_of_two_convolutions_the_later_one_takes_the_others_result() -> None:
    module, x = traced(lambda m, x: F.relu(m.b(x) + m.a(x)))
    expected = module(x)
    assert fuse_conv_relu(module) == 1
    nodes = list(module.graph.nodes)
    (first,), (second,) = ([node for node in nodes if node.target is target] for target in (CONV, OURS))
    assert second.args[3] is first
    assert first.args[1].target == "b.weight"
    assert_near(module(x), expected, "exact in float32")


def test_the_later_of_two_convolutions_adds_both_biases() -> None:
    module, x = traced(lambda m, x: F.relu(m.b(x) + m.a(x)))
    expected = module(x)
    assert fuse_conv_relu(module) == 1
    (first,) = (node for node in module.graph.nodes if node.target is CONV)
    assert first.args[2] is None, "a bias of its own would be a kernel of its own"
    assert_near(module(x), expected, "exact in float32")


@pytest.mark.parametrize(
    "together",
    [
        lambda m, x: (y := m.b(x), F.relu(y + m.a(x))),
        lambda m, x: F.relu(m.plain(x) + m.a(x)),
        lambda m, x: F.relu((y := m.b(x)) + y),
        lambda m, x: F.relu(F.conv2d(x, m.b.weight, x.mean().expand(len(m.b.weight)), padding=m.b.padding) + m.a(x)),
    ],
    ids=["read twice", "without one", "added to itself", "computed"],
)
def test_a_bias_that_others_read_stays(together: Together) -> None:
    module, x = traced(together)
    expected = module(x)
    biases = [node.args[2] if len(node.args) > 2 else None for node in module.graph.nodes if node.target is CONV]
    assert fuse_conv_relu(module) == 1
    (first,) = (node for node in module.graph.nodes if node.target is CONV)
    assert (first.args[2] if len(first.args) > 2 else None) is biases[0]
    found, wanted = (each if isinstance(each, tuple) else (each,) for each in (module(x), expected))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_planar_map_is_written_channels_last() -> None:
    x = torch.randn(2, 8, 6, 7, generator=torch.Generator().manual_seed(1))
    module = export_module(Layers(lambda m, x: F.relu(m.a(x + 1))), x)
    expected = module(x)
    assert fuse_conv_relu(module) == 1
    (ours,) = (node for node in module.graph.nodes if node.target is OURS)
    assert ours.args[0].target is torch.ops.aten.contiguous.default
    # Some processors have other kernels for the other layout.
    assert_near(module(x), expected, "exact in float32")
    again, _ = traced(lambda m, x: F.relu(m.a(x)))
    fuse_conv_relu(again)
    assert torch.ops.aten.contiguous.default not in targets(again), "it is so already"


def test_convolutions_in_a_row_are_fused_each() -> None:
    module, x = traced(lambda m, x: F.relu(m.a(F.relu(m.b(F.relu(m.a(x))))) + x))
    expected = module(x)
    assert fuse_conv_relu(module) == 3
    assert torch.equal(module(x), expected)


def both_read(m: Layers, x: Tensor) -> object:
    y = m.a(x)
    return F.relu(y) + y


def sum_read_twice(m: Layers, x: Tensor) -> object:
    y = m.a(x) + x
    return F.relu(y), y


@pytest.mark.parametrize(
    "together",
    [
        both_read,
        sum_read_twice,
        lambda m, x: (y := m.a(x), F.relu(y + x)),
        lambda m, x: F.relu(m.grouped(x)),
        lambda m, x: F.relu(m.plain(x)),
        lambda m, x: F.relu(m.plain(x) + x),
        lambda m, x: F.relu(m.one(x) + x),
        lambda m, x: F.relu(m.a(x) + x[:1]),
        lambda m, x: F.relu(m.a(x) + 1),
        lambda m, x: F.relu(torch.add(m.a(x), x, alpha=2)),
        lambda m, x: F.relu(m.a(x) + x.double()),
        lambda m, x: F.relu(m.a(x) * x),
        lambda m, x: F.leaky_relu(m.a(x)),
        lambda m, x: F.relu(x),
    ],
    ids=[
        "two users",
        "sum with two users",
        "convolution in a sum with two users",
        "groups",
        "no bias",
        "no bias in a sum",
        "sum of other channels",
        "sum of other images",
        "sum with a number",
        "sum with a factor",
        "sum of other types",
        "product",
        "leaky",
        "no convolution",
    ],
)
def test_others_are_left_alone(together: Together) -> None:
    module, _ = traced(together)
    before = targets(module)
    assert fuse_conv_relu(module) == 0
    assert targets(module) == before


def test_the_operator_keeps_channels_last_and_has_the_shape_that_it_promises() -> None:
    x = torch.randn(2, 8, 6, 7).to(memory_format=torch.channels_last)
    weight = torch.randn(4, 8, 3, 3).to(memory_format=torch.channels_last)
    arguments = x, weight, torch.randn(4), torch.randn(2, 4, 3, 7), [2, 1], [1, 1], [1, 1]
    torch.library.opcheck(conv_relu, arguments, test_utils=("test_schema", "test_faketensor"))
    found = conv_relu(*arguments)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, F.relu(F.conv2d(x, weight, arguments[2], [2, 1], 1) + arguments[3]))
