"""The rearranged heads equal the plain formulas: only the label's class, split and merged 1×1 convolutions,
1×1 convolutions before the upsampling, no repeated ReLU, no resize to the same size."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from refinemask.config import RefineMaskConfig
from refinemask.modeling.point_sampling import point_roi_align
from refinemask.modeling.refine_mask_head import RefineMaskHead, StageFeatures
from refinemask.modeling.simple_refine_mask_head import SimpleRefineMaskHead
from refinemask.ops import MapChannels
from tests.support import plain_refine_mask as plain
from tests.support.tolerances import TOLERANCES, assert_near

ROIS = torch.tensor(
    [[0, 4, 6, 60, 50], [1, 0, 0, 128, 96], [0, 100, 30, 128, 96], [1, 2, 3, 9, 11], [0, 0, 0, 12.5, 90]]
)
LABELS = torch.tensor([0, 4, 2, 1, 3])


MaskHead = RefineMaskHead | SimpleRefineMaskHead
Formula = Callable[..., tuple[list[torch.Tensor], torch.Tensor | None]]


def make(kind: type[MaskHead], dtype: torch.dtype, **config: Any) -> tuple[MaskHead, list[torch.Tensor]]:
    torch.manual_seed(0)
    head = kind(32, 5, RefineMaskConfig(**config)).to(dtype)
    for parameter in head.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    pyramid = [torch.randn(2, 32, 24 >> i, 32 >> i, dtype=dtype) for i in range(4)]
    return head, pyramid


CASES = [
    (RefineMaskHead, {}, plain.original),
    (RefineMaskHead, {"class_agnostic_last": True}, plain.original),
    (SimpleRefineMaskHead, {"variant": "simple"}, plain.simple),
]


@pytest.mark.parametrize(("kind", "config", "formula"), CASES)
def test_equal_in_float64(kind: type[MaskHead], config: dict[str, Any], formula: Formula) -> None:
    head, pyramid = make(kind, torch.float64, **config)
    with torch.no_grad():
        output = head(pyramid, ROIS, LABELS)
        expected, semantic = formula(head, pyramid, ROIS.double(), LABELS)
    assert [logits.shape[-1] for logits in output.stage_logits] == [14, 28, 56, 112]
    for ours, theirs in zip(output.stage_logits, expected, strict=True):
        error = (ours - theirs).norm() / theirs.norm()
        assert error <= TOLERANCES["exact in float64"].relative
    if semantic is not None:
        assert (output.semantic_logits - semantic).norm() / semantic.norm() <= TOLERANCES["exact in float64"].relative


@pytest.mark.parametrize(("kind", "config", "formula"), CASES)
def test_gradients_equal_in_float64(kind: type[MaskHead], config: dict[str, Any], formula: Formula) -> None:
    """Training runs the same rearranged forward, so its gradients must be the plain ones too."""
    head, pyramid = make(kind, torch.float64, **config)
    weights = [torch.randn(5, 1, s, s, dtype=torch.float64) for s in (14, 28, 56, 112)]

    def gradients(outputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        head.zero_grad()
        torch.stack([(w * o).sum() for w, o in zip(weights, outputs, strict=True)]).sum().backward()
        # The semantic predictor's bias and some others get gradients through one path only.
        return {name: p.grad.clone() for name, p in head.named_parameters() if p.grad is not None}

    ours = gradients(head(pyramid, ROIS, LABELS).stage_logits)
    theirs = gradients(formula(head, pyramid, ROIS.double(), LABELS)[0])
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= TOLERANCES["gradients in float64"].relative * gradient.norm(), name


def test_conv_before_upsampling_equals_conv_after_it() -> None:
    coarse, masks = torch.randn(3, 6, 7, 7, dtype=torch.float64), torch.rand(3, 2, 14, 14, dtype=torch.float64)
    weight = torch.randn(5, 8, 1, 1, dtype=torch.float64)
    assembled = torch.cat([plain.resize(coarse, 14, False), masks], 1)
    ours = StageFeatures(coarse, masks).conv(weight) + torch.nn.functional.conv2d(masks, weight[:, -2:])
    assert_near(ours, torch.nn.functional.conv2d(assembled, weight), "sums in float64")


def test_point_roi_align_fades_to_zero_outside_the_map() -> None:
    features = torch.randn(2, 3, 24, 32, dtype=torch.float64)
    rois = torch.cat([ROIS, torch.tensor([[1, 0, 0, 0.5, 0.5], [0, 127, 95, 128, 96]])])
    ours = point_roi_align(MapChannels(features), rois, 14)
    assert_near(ours, plain.sample_points(features, rois.double(), 14), "sums in float64")


def test_labels_choose_the_features_of_later_stages() -> None:
    head, pyramid = make(RefineMaskHead, torch.float64)
    with torch.no_grad():
        a = head(pyramid, ROIS, LABELS).stage_logits
        b = head(pyramid, ROIS, LABELS.roll(1)).stage_logits
    assert not torch.allclose(a[0], b[0])
    last = head.instance_logits[-1]
    last.weight.data[:] = last.weight.data[:1]
    assert last.bias is not None
    last.bias.data[:] = last.bias.data[:1]
    with torch.no_grad():
        a = head(pyramid, ROIS, LABELS).stage_logits[-1]
        b = head(pyramid, ROIS, LABELS.roll(1)).stage_logits[-1]
    assert not torch.allclose(a, b)


def test_padded_rois_are_harmless() -> None:
    head, pyramid = make(RefineMaskHead, torch.float32)
    with torch.no_grad():
        alone = head(pyramid, ROIS, LABELS).stage_logits[-1]
        padded = head(pyramid, torch.cat([ROIS, torch.zeros(3, 5)]), torch.cat([LABELS, torch.zeros(3).long()]))
    assert_near(padded.stage_logits[-1][:5], alone, "padded rois")
    assert torch.isfinite(padded.stage_logits[-1]).all()
    with torch.no_grad():
        empty = head(pyramid, ROIS[:0], LABELS[:0])
    assert [tuple(x.shape) for x in empty.stage_logits] == [(0, 1, s, s) for s in (14, 28, 56, 112)]
