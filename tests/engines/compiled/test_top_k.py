"""The passes that put ``refinemask::top_k`` into a traced graph, and join its calls."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves

from engines.compiled.program import traced_parts
from engines.compiled.top_k import join_top_k, use_top_k
from refinemask.modeling.exported import ExportedDetector
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
    selections = targets(boxes).count(ATEN)
    assert use_top_k(boxes) == selections == 5 + 2
    assert ATEN not in targets(boxes)
    assert targets(boxes).count(OURS) == selections
    found = boxes(maps, image_sizes)
    assert expected[3].min() > 0
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert join_top_k(boxes) == 5
    assert (targets(boxes).count(OURS), targets(boxes).count(JOINED)) == (2, 1)
    assert all(torch.equal(a, b) for a, b in zip(boxes(maps, image_sizes), expected, strict=True))


def test_one_of_both_results_may_be_all_that_is_used() -> None:
    scores = torch.randn(3, 50)
    for function in (lambda x: x.topk(7).indices + 1, lambda x: x.topk(7, dim=1).values + 1):
        module = traced(function, scores)
        assert use_top_k(module) == 1
        assert torch.equal(module(scores), function(scores))


@pytest.mark.parametrize(
    ("function", "scores"),
    [
        (lambda x: x.topk(3, largest=False), torch.randn(2, 9)),
        (lambda x: x.topk(2, dim=0), torch.randn(2, 9)),
        (lambda x: x.topk(3, sorted=False), torch.randn(2, 9)),
        (lambda x: x.topk(3), torch.randn(2, 2, 9)),
        (lambda x: x.topk(3), torch.randn(2, 9).half()),
    ],
    ids=["smallest", "columns", "unsorted", "3-d", "half"],
)
def test_other_selections_are_left_alone(function: Callable[[Tensor], object], scores: Tensor) -> None:
    module = traced(function, scores)
    assert use_top_k(module) == 0
    assert ATEN in targets(module)


def joined(function: Callable[[Tensor], object], scores: Tensor) -> tuple[int, list[int]]:
    """How many calls were joined, and into calls of how many segments each; results must be the same."""
    module = traced(function, scores)
    use_top_k(module)
    count = join_top_k(module)
    module.graph.lint()
    expected, found = tree_leaves(function(scores)), tree_leaves(module(scores))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    return count, [len(node.args[1]) for node in module.graph.nodes if node.target is JOINED]


def test_what_a_later_call_selects_from_is_computed_before_the_first() -> None:
    def function(x: Tensor) -> object:
        first, place = x.topk(4)
        used = first.view(-1) + place.view(-1)
        sine = x.sin() * 2
        second = torch.cat([sine, sine.cos()], dim=1).topk(4)
        return used, second.indices, x[:, 5:].exp().topk(4).values.view(-1)

    assert joined(function, torch.randn(3, 20)) == (3, [3])


def test_more_calls_than_a_kernel_takes_are_several() -> None:
    assert joined(lambda x: [(x * i).topk(3) for i in range(1, 20)], torch.randn(2, 9)) == (19, [8, 8, 3])


def dependent(x: Tensor) -> object:
    values, _ = x.topk(5)
    return (values.sin() + 1).topk(5)


def crossed(x: Tensor) -> object:
    """Either pair of equal numbers of results can be one, and both together cannot."""
    three = x.topk(3).values
    two = (x * three.sum()).topk(2)
    other_two = (-x).topk(2).values
    return two, (x * other_two.sum()).topk(3)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (dependent, (0, [])),
        (crossed, (2, [2])),
        (lambda x: (x.topk(2), x.topk(3)), (0, [])),
        (lambda x: (x.topk(2), x[:1].topk(2)), (0, [])),
        (lambda x: (x.topk(5).values.topk(2), x.topk(2)), (2, [2])),
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
            return x.topk(2), x.sin().topk(2)

    scores = torch.randn(3, 9)
    program = torch.export.export(Module(), (scores,), dynamic_shapes=({1: Dim("length", min=2)},), strict=False)
    module: Any = program.module(check_guards=False)
    assert use_top_k(module) == 2
    assert join_top_k(module) == 0
