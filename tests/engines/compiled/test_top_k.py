"""The pass that joins calls of ``refinemask::top_k`` in a traced graph."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves

from engines.compiled.program import traced_parts
from engines.compiled.top_k import join_top_k
from refinemask.modeling.exported import ExportedDetector
from refinemask.ops import top_k
from tests.support.tiny_detector import make_tiny_detector

ATEN, OURS = torch.ops.aten.topk.default, torch.ops.refinemask.top_k.default
JOINED = torch.ops.refinemask.top_k_segments.default


def targets(module: fx.GraphModule) -> list[object]:
    return [node.target for node in module.graph.nodes]


def traced(function: Callable[[Tensor], object], *arguments: Tensor) -> fx.GraphModule:
    class Module(nn.Module):
        def forward(self, scores: Tensor) -> object:
            return function(scores)

    return torch.export.export(Module(), arguments, strict=False).module(check_guards=False)


def test_boxes_stay_the_same() -> None:
    """Also those of an image whose levels have fewer anchors than candidates, which are padded."""
    detector = ExportedDetector(make_tiny_detector(), torch.float32).detector
    parts = traced_parts(detector, 2, (64, 96), "cpu")
    _, features, (images, image_sizes) = next(parts)
    name, boxes, _ = next(parts)
    assert name == "boxes"
    images = torch.randint(0, 256, images.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    maps = features(images, image_sizes)
    expected = boxes(maps, image_sizes)
    assert ATEN not in targets(boxes)
    assert targets(boxes).count(OURS) == 5 + 2
    assert expected[3].min() > 0
    assert join_top_k(boxes) == 5
    assert (targets(boxes).count(OURS), targets(boxes).count(JOINED)) == (2, 1)
    assert all(torch.equal(a, b) for a, b in zip(boxes(maps, image_sizes), expected, strict=True))


def joined(function: Callable[[Tensor], object], scores: Tensor) -> tuple[int, list[int]]:
    """How many calls were joined, and into calls of how many segments each; results must be the same."""
    module = traced(function, scores)
    count = join_top_k(module)
    module.graph.lint()
    expected, found = tree_leaves(function(scores)), tree_leaves(module(scores))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    return count, [len(node.args[1]) for node in module.graph.nodes if node.target is JOINED]


def test_what_a_later_call_selects_from_is_computed_before_the_first() -> None:
    def function(x: Tensor) -> object:
        first, place = top_k(x, 4)
        used = first.view(-1) + place.view(-1)
        sine = x.sin() * 2
        _, second = top_k(torch.cat([sine, sine.cos()], dim=1), 4)
        return used, second, top_k(x[:, 5:].exp(), 4)[0].view(-1)

    assert joined(function, torch.randn(3, 20)) == (3, [3])


def test_more_calls_than_a_kernel_takes_are_several() -> None:
    assert joined(lambda x: [top_k(x * i, 3) for i in range(1, 20)], torch.randn(2, 9)) == (19, [8, 8, 3])


def dependent(x: Tensor) -> object:
    values, _ = top_k(x, 5)
    return top_k(values.sin() + 1, 5)


def crossed(x: Tensor) -> object:
    """Either pair of equal numbers of results can be one, and both together cannot."""
    three, _ = top_k(x, 3)
    two = top_k(x * three.sum(), 2)
    other_two, _ = top_k(-x, 2)
    return two, top_k(x * other_two.sum(), 3)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (dependent, (0, [])),
        (crossed, (2, [2])),
        (lambda x: (top_k(x, 2), top_k(x, 3)), (0, [])),
        (lambda x: (top_k(x, 2), top_k(x[:1], 2)), (0, [])),
        (lambda x: (top_k(top_k(x, 5)[0], 2), top_k(x, 2)), (2, [2])),
        (lambda x: (dependent(x), dependent(-x)), (4, [2, 2])),
    ],
    ids=["dependent", "crossed", "numbers", "rows", "another kind between", "two chains"],
)
def test_calls_that_wait_for_one_another_or_differ_stay_apart(
    function: Callable[[Tensor], object], expected: tuple[int, list[int]]
) -> None:
    assert joined(function, torch.randn(3, 9)) == expected


def test_rows_of_any_length_stay_apart() -> None:
    class Module(nn.Module):
        def forward(self, x: Tensor) -> object:
            return top_k(x, 2), top_k(x.sin(), 2)

    scores = torch.randn(3, 9)
    program = torch.export.export(Module(), (scores,), dynamic_shapes=({1: Dim("length", min=2)},), strict=False)
    module: Any = program.module(check_guards=False)
    assert join_top_k(module) == 0
