"""Parts of a joint map: views in PyTorch, channels that are read in place in an exported file."""

import pytest
import torch
from torch import Tensor

from refinemask.ops import multilevel_roi_align, pool_channels, roi_align_channels, split_channels
from refinemask.ops.fused import fused_operators

WIDTHS = [4, 1, 3]
ROIS = torch.tensor([[0, 3, 5, 60, 50], [1, -8, 10, 40, 60], [0, 5, 5, 5, 9.0]])


@pytest.fixture
def joint() -> Tensor:
    """A map of two images that three parts lie in."""
    return torch.randn(2, sum(WIDTHS), 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sampling_ratio", [0, 1])
def test_parts_are_pooled_alike_in_a_file_and_out_of_it(joint: Tensor, sampling_ratio: int) -> None:
    views = [pool_channels(part, ROIS, 7, sampling_ratio) for part in split_channels(joint, WIDTHS)]
    with fused_operators():
        parts = split_channels(joint, WIDTHS)
        pooled = [pool_channels(part, ROIS, 7, sampling_ratio) for part in parts]
    assert all(part.feature is joint for part in parts)
    for found, view, part in zip(pooled, views, joint.split(WIDTHS, dim=1), strict=True):
        assert torch.equal(found, view)
        assert torch.equal(found, multilevel_roi_align([part.contiguous()], ROIS, 7, sampling_ratio, 56))


def test_a_traced_program_has_views_as_before(joint: Tensor) -> None:
    class Pooling(torch.nn.Module):
        def forward(self, joint: Tensor, rois: Tensor) -> list[Tensor]:
            return [pool_channels(part, rois, 7) for part in split_channels(joint, WIDTHS)]

    def operators() -> list[str]:
        graph = torch.export.export(Pooling(), (joint, ROIS)).graph
        return [str(node.target) for node in graph.nodes if node.op == "call_function" and "getitem" not in str(node)]

    pool = "refinemask.multilevel_roi_align.default"
    assert operators() == ["aten.split_with_sizes.default", pool, pool, pool]
    with fused_operators():
        assert operators() == ["refinemask.roi_align_channels.default"] * 3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_shapes_and_strides_are_known_before_it_runs(joint: Tensor, layout: torch.memory_format) -> None:
    arguments = joint.contiguous(memory_format=layout), ROIS, 4, 3, 7, 0, 56
    torch.library.opcheck(roi_align_channels, arguments, test_utils=("test_schema", "test_faketensor"))
