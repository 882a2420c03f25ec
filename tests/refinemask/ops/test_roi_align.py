import pytest
import torch
from torchvision.ops import roi_align

from refinemask.ops import multilevel_roi_align, roi_levels

ROIS = torch.tensor([[0, 0, 0, 30, 40], [1, 5, 5, 250, 200], [0, 3, 3, 3, 3], [1, -20, -20, 500, 400.0]])


def pyramid(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 4, 64 >> i, 96 >> i, dtype=dtype) for i in range(4)]


def test_level_boundaries() -> None:
    sides = torch.tensor([0, 8, 111.9, 112, 223.9, 224, 447, 448, 2000.0])
    rois = torch.stack([sides * 0, sides * 0, sides * 0, sides, sides], 1)
    assert roi_levels(rois, 4, 56).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert roi_levels(rois, 1, 56).tolist() == [0] * 9


@pytest.mark.parametrize(("size", "ratio"), [(7, 0), (14, 2)])
def test_equals_roi_align_on_the_chosen_level(size: int, ratio: int) -> None:
    features = pyramid()
    pooled = multilevel_roi_align(features, ROIS, size, ratio, 56)
    for i, level in enumerate(roi_levels(ROIS, 4, 56).tolist()):
        expected = roi_align(features[level], ROIS[i : i + 1], size, 1 / (4 << level), ratio, aligned=True)
        torch.testing.assert_close(pooled[i : i + 1], expected, rtol=0, atol=0)


def test_half_pixel_shift_on_a_ramp() -> None:
    """On a map whose value is its column's centre in input pixels, a bin holds its own centre."""
    ramp = (4 * torch.arange(32.0) + 2).expand(1, 1, 32, 32)
    roi = torch.tensor([[0, 20.0, 20.0, 52.0, 52.0]])
    pooled = multilevel_roi_align([ramp.contiguous()], roi, 4, 0, 56)
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor([24.0, 32.0, 40.0, 48.0]))


def test_adaptive_sampling_takes_ceil_of_the_bin() -> None:
    """A bin of 2.5 cells is averaged over three samples, not over two."""
    feature = torch.randn(1, 1, 32, 32)
    roi = torch.tensor([[0, 8.0, 8.0, 28.0, 28.0]])
    adaptive = multilevel_roi_align([feature], roi, 2, 0, 56)
    torch.testing.assert_close(adaptive, multilevel_roi_align([feature], roi, 2, 3, 56))
    assert not torch.allclose(adaptive, multilevel_roi_align([feature], roi, 2, 2, 56))


def test_empty_roi_gives_zeros_and_no_rois_give_none() -> None:
    pooled = multilevel_roi_align(pyramid(), ROIS[2:3], 7, 0, 56)
    assert not pooled.any()
    assert multilevel_roi_align(pyramid(), ROIS[:0], 7, 0, 56).shape == (0, 4, 7, 7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_features_are_accumulated_in_float32(dtype: torch.dtype) -> None:
    features = [x.to(dtype) for x in pyramid()]
    pooled = multilevel_roi_align(features, ROIS, 7, 0, 56)
    expected = multilevel_roi_align([x.float() for x in features], ROIS, 7, 0, 56)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, expected.to(dtype), rtol=0, atol=0)


def test_gradient() -> None:
    features = [x.requires_grad_() for x in pyramid(torch.float64)]
    small = [x[:, :1, :8, :8].detach().requires_grad_() for x in features]
    rois = torch.tensor([[0, 1, 2, 30, 28], [1, 0, 0, 120, 130.0]])
    assert torch.autograd.gradcheck(lambda *f: multilevel_roi_align(list(f), rois, 3, 0, 56), small)


def test_schema_and_fake_kernel() -> None:
    torch.library.opcheck(
        multilevel_roi_align, (pyramid(), ROIS, 7, 0, 56), test_utils=("test_schema", "test_faketensor")
    )
