import numpy as np
import pytest
import torch

from refinemask.ops import boundary_map, boundary_merge, upsample_aligned


def count_differing(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of the zero-padded window that differ from its centre, counted one by one."""
    size = mask.shape[0]
    padded = np.pad(mask, width)
    counts = np.zeros_like(mask)
    for y in range(size):
        for x in range(size):
            counts[y, x] = (padded[y : y + 2 * width + 1, x : x + 2 * width + 1] != mask[y, x]).sum()
    return counts


@pytest.mark.parametrize(("width", "least"), [(1, 1), (2, 3), (3, 5)])
def test_least_number_of_differing_pixels(width: int, least: int) -> None:
    rng = np.random.default_rng(width)
    masks = (rng.random((6, 16, 16)) < np.array([0.02, 0.1, 0.5, 0.9, 0.98, 1.0])[:, None, None]).astype(np.int64)
    found = boundary_map(torch.from_numpy(masks).float()[:, None], width)[:, 0].numpy()
    for mask, boundary in zip(masks, found, strict=True):
        np.testing.assert_array_equal(boundary == 1, count_differing(mask, width) >= least)


def test_only_foreground_on_the_rim_is_boundary() -> None:
    full = torch.ones(1, 1, 8, 8)
    assert boundary_map(full, 1).sum() == 28
    assert boundary_map(torch.zeros(1, 1, 8, 8), 1).sum() == 0


def test_logits_at_zero_count_as_foreground() -> None:
    coarse = torch.full((1, 1, 4, 4), -1.0)
    coarse[0, 0, 1, 1] = 0.0
    fine = torch.full((1, 1, 8, 8), 100.0)
    assert (boundary_merge(coarse, fine) == 100).any()
    coarse[0, 0, 1, 1] = -1e-3
    assert not (boundary_merge(coarse, fine) == 100).any()


@pytest.mark.parametrize(("size", "closest"), [(28, 1.6e-4), (56, 4.0e-5)])
def test_upsampled_boundary_keeps_its_distance_from_one_half(size: int, closest: float) -> None:
    """The reason for float32: the interpolated 0/1 map comes this close to the threshold, but never reaches it."""
    torch.manual_seed(0)
    exact = upsample_aligned((torch.rand(64, 1, size, size, dtype=torch.float64) < 0.5).double())
    assert (exact - 0.5).abs().min() > closest
    torch.manual_seed(0)
    single = upsample_aligned((torch.rand(64, 1, size, size, dtype=torch.float64) < 0.5).float())
    assert torch.equal(single >= 0.5, exact >= 0.5)
