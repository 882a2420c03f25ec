"""The boundary merge kernel, run on the CPU, against the eager operator."""

import ctypes
import os
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from refinemask.ops import boundary_merge
from tests.support.tolerances import TOLERANCES
from trt_plugins.c_api import KernelError, Kernels
from trt_plugins.torch_kernels import TorchKernels


def stage_logits(rois: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    coarse = F.avg_pool2d(torch.randn(rois, 1, size, size, generator=generator) * 5, 3, 1, 1)
    return coarse, torch.randn(rois, 1, 2 * size, 2 * size, generator=generator)


@pytest.mark.parametrize("multiprocessors", [1, 132])
@pytest.mark.parametrize(("rois", "size"), [(3, 28), (3, 56), (2, 7), (2, 1), (1, 101)])
def test_equals_the_eager_operator(
    host_kernels: Kernels, schedule: Callable[[int, int, int], None], rois: int, size: int, multiprocessors: int
) -> None:
    schedule(5, multiprocessors, 100)
    coarse, fine = stage_logits(rois, size)
    found = TorchKernels(host_kernels).boundary_merge(coarse, fine)
    expected = boundary_merge(coarse, fine)
    assert torch.equal(found == fine, expected == fine)
    tolerance = TOLERANCES["boundary merge"]
    torch.testing.assert_close(found, expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("logit", [0.0, -0.0, -1e-7, -1.7e-7, -2.5e-7, float("nan"), float("inf"), -1e30])
def test_foreground_is_a_sigmoid_of_a_half(host_kernels: Kernels, logit: float) -> None:
    """A uniform map: the rim of a foreground is boundary, that of a background is not."""
    coarse, fine = torch.full((1, 1, 4, 4), logit), torch.full((1, 1, 8, 8), 42.0)
    found = TorchKernels(host_kernels).boundary_merge(coarse, fine)
    assert torch.equal(found == 42, boundary_merge(coarse, fine) == 42)


@pytest.mark.parametrize("size", [2, 7, 28, 56])
def test_the_test_for_a_half_is_exact(host_library: str, size: int) -> None:
    library = ctypes.CDLL(os.fspath(host_library))
    generator = np.random.default_rng(size)
    pixels = generator.integers(0, 2 * size, (200, 2))
    for y, x in pixels:
        corners = generator.integers(0, 2, (size, size)).astype(np.int32)
        rows, columns = (_between(int(v), size) for v in (y, x))
        share = sum(wy * wx * int(corners[i, j]) for i, wy in rows for j, wx in columns)
        found = library.host_at_least_half(corners.ctypes.data_as(ctypes.c_void_p), size, int(y), int(x))
        assert share != Fraction(1, 2)
        assert found == (share > Fraction(1, 2))


def _between(output: int, size: int) -> list[tuple[int, Fraction]]:
    position = Fraction(output * (size - 1), 2 * size - 1)
    low = int(position)
    return [(low, 1 - position + low), (min(low + 1, size - 1), position - low)]


def test_no_rois_is_no_error(host_kernels: Kernels) -> None:
    found = TorchKernels(host_kernels).boundary_merge(torch.empty(0, 1, 4, 4), torch.empty(0, 1, 8, 8))
    assert found.shape == (0, 1, 8, 8)


def test_maps_too_large_for_a_block(host_kernels: Kernels) -> None:
    with pytest.raises(KernelError, match="size=1025"):
        TorchKernels(host_kernels).boundary_merge(torch.empty(1, 1, 1025, 1025), torch.empty(1, 1, 2050, 2050))
