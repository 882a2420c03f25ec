"""What a graph makes of its weights alone is computed once."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from engines.compiled.fold_weights import fold_weights
from refinemask.modeling.exported import ExportedDetector
from tests.support.tiny_families import make_tiny_family
from tests.support.traced_parts import export_module, run, targets, trace


class Joined(nn.Module):
    """One convolution with the weights of two, split again; and a product of a matrix of weights with itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(8, 4, 3), nn.Conv2d(8, 4, 3)
        self.matrix = nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        weight = torch.cat([self.a.weight, self.b.weight])
        bias = torch.cat([self.a.bias, self.b.bias])  # type: ignore[list-item]
        first, second = weight.split(4)
        return F.conv2d(x, weight, bias), F.conv2d(x, first) - F.conv2d(x, second), self.matrix @ self.matrix.t()


def computed(module: fx.GraphModule) -> list[fx.Node]:
    """Nodes that read nothing but weights."""
    calls = [node for node in module.graph.nodes if node.op == "call_function" and node.all_input_nodes]
    return [node for node in calls if all(source.op == "get_attr" for source in node.all_input_nodes)]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_weights_are_joined_and_split_before_the_graph_runs(memory_format: torch.memory_format) -> None:
    """And those of convolutions stay channels last where they were."""
    x = torch.randn(2, 8, 6, 7)
    module = export_module(Joined().to(memory_format=memory_format), x)  # type: ignore[call-overload]
    expected = run(module, (x,))
    assert computed(module)
    fold_weights(module)
    assert not computed(module)
    assert targets(module).count(torch.ops.aten.cat.default) == 0
    found = run(module, (x,))
    assert [a.stride() for a in found] == [b.stride() for b in expected]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    folded = [value for name, value in module.named_buffers() if value.dim() == 4]
    assert len(folded) == 3
    assert all(value.is_contiguous(memory_format=memory_format) for value in folded)


def test_what_depends_on_the_input_stays() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.arange(3)

    module = export_module(Scaled(), torch.ones(3))
    before = targets(module)
    fold_weights(module)
    assert targets(module) == before


def test_refine_mask_joins_and_splits_its_weights_and_gives_the_same_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.compiled.program.fold_weights", lambda module: None)
    parts = trace(ExportedDetector(make_tiny_family("RefineMask")))
    folded = 0
    for part, module in parts.modules.items():
        before = len(computed(module))
        expected = run(module, parts.inputs[part])
        fold_weights(module)
        assert not computed(module)
        folded += before
        found = run(module, parts.inputs[part])
        assert [a.stride() for a in found] == [b.stride() for b in expected], part
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), part
    assert folded > 10
