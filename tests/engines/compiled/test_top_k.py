"""The pass that puts ``refinemask::top_k`` into a traced graph."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from engines.compiled.program import traced_parts
from engines.compiled.top_k import use_top_k
from refinemask.modeling.exported import ExportedDetector
from tests.support.tiny_detector import make_tiny_detector

ATEN, OURS = torch.ops.aten.topk.default, torch.ops.refinemask.top_k.default


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
