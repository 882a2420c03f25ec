"""Mask R-CNN's mask head."""

import pytest
import torch
from torch import Tensor, nn

from export.model import tidy, trace
from refinemask.modeling.fcn_mask_head import Upsampling
from refinemask.ops.fused import fused_operators


def with_small_integers(channels: int, dtype: torch.dtype) -> tuple[Upsampling, Tensor]:
    """A layer and features whose products and sums bfloat16 holds exactly."""
    generator = torch.Generator().manual_seed(0)
    upsample = Upsampling(channels).requires_grad_(False)
    for parameter in upsample.parameters():
        parameter.copy_(torch.randint(-3, 4, parameter.shape, generator=generator))
    features = torch.randint(-3, 4, (3, channels, 5, 4), generator=generator)
    return upsample.to(dtype), features.to(dtype)


def test_as_a_convolution_it_computes_the_same() -> None:
    upsample, features = with_small_integers(8, torch.bfloat16)
    expected = upsample(features)
    with fused_operators():
        found = upsample(features)
    assert found.shape == (3, 8, 10, 8)
    assert found.count_nonzero() > 100
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("dtype", "operators"),
    [
        (torch.float32, ["ConvTranspose", "Relu"]),
        (torch.float16, ["ConvTranspose", "Relu"]),
        (torch.bfloat16, ["Conv", "Relu", "DepthToSpace"]),
    ],
    ids=str,
)
def test_a_file_has_it_as_what_builds(dtype: torch.dtype, operators: list[str]) -> None:
    upsample, features = with_small_integers(8, dtype)
    with fused_operators():
        model = trace(nn.Sequential(upsample), (features,), opset=22, inputs=["x"], outputs=["y"])
    tidy(model, "")
    assert [node.op_type for node in model.graph] == operators, "the weights are arranged already"
    assert len(model.graph.initializers) == 2
