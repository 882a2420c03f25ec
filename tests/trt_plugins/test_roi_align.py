"""The RoIAlign kernels, run on the CPU, against the eager operator in float64."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from refinemask.ops import multilevel_roi_align
from tests.support.tolerances import TOLERANCES, assert_near
from trt_plugins.c_api import FeatureMap, KernelError, Kernels
from trt_plugins.torch_kernels import TorchKernels

PYRAMID = ((48, 64), (24, 32), (12, 16), (6, 8))
ODD_PYRAMID = ((29, 37), (15, 19), (8, 10), (4, 5))
TYPES = [torch.float32, torch.float16, torch.bfloat16]


def feature_maps(shapes: tuple[tuple[int, int], ...], channels: int = 8, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, channels, *shape, generator=generator) for shape in shapes]


def random_rois(count: int, batch: int = 2) -> Tensor:
    """Log-normal sizes over a 256 × 192 image, some of them partly outside; a full image and a box without area."""
    generator = torch.Generator().manual_seed(2)
    centres = torch.rand(count, 2, generator=generator) * torch.tensor([256, 192])
    half = torch.exp(torch.randn(count, 2, generator=generator)) * 20
    images = torch.randint(batch, (count, 1), generator=generator)
    rois = torch.cat([images, centres - half, centres + half], dim=1)
    rois[0, 1:] = torch.tensor([0, 0, 256, 192])
    rois[1:2, 1:] = 17
    return rois


def assert_equals_eager(found: Tensor, maps: list[Tensor], rois: Tensor, size: int, ratio: int) -> None:
    expected = multilevel_roi_align([feature.double() for feature in maps], rois, size, ratio, 56)
    tolerance = TOLERANCES[f"roi_align {str(found.dtype).removeprefix('torch.')}"]
    torch.testing.assert_close(found.double(), expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("channels_last", [False, True], ids=["planar", "interleaved"])
@pytest.mark.parametrize(("size", "ratio"), [(7, 0), (14, 0), (7, 2), (56, 0)])
def test_equals_the_eager_operator(
    host_kernels: Kernels, dtype: torch.dtype, channels_last: bool, size: int, ratio: int
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = [feature.to(dtype).contiguous(memory_format=layout) for feature in feature_maps(PYRAMID)]
    rois = random_rois(9 if size == 56 else 21)
    found = TorchKernels(host_kernels).multilevel_roi_align(maps, rois, size, ratio, 56)
    assert_equals_eager(found, maps, rois, size, ratio)


@pytest.mark.parametrize("levels", [1, 4])
def test_widths_that_no_vector_divides(host_kernels: Kernels, levels: int) -> None:
    maps, rois = feature_maps(ODD_PYRAMID[:levels], channels=5), random_rois(10)
    found = TorchKernels(host_kernels).multilevel_roi_align(maps, rois, 7, 0, 56)
    assert_equals_eager(found, maps, rois, 7, 0)


def test_maps_that_start_off_a_vector_s_boundary(host_kernels: Kernels) -> None:
    """As the parts of a split convolution do."""
    whole = torch.randn(1, 5, 12, 16, generator=torch.Generator().manual_seed(0))
    storage = torch.empty(whole.numel() + 1)
    shifted = storage[1:].view_as(whole).copy_(whole)
    rois = random_rois(6, batch=1)
    found = TorchKernels(host_kernels).multilevel_roi_align([shifted], rois, 7, 0, 56)
    assert_equals_eager(found, [whole], rois, 7, 0)


DEVICES = {"small": (1, 228), "large": (132, 228)}
"""Multiprocessors, and the kilobytes of shared memory of each: many RoIs to a block, and few."""


@pytest.mark.parametrize("channels_last", [False, True], ids=["planar", "interleaved"])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("device", DEVICES)
def test_neither_launch_shape_nor_thread_order_matters(
    host_kernels: Kernels,
    schedule: Callable[[int, int, int], None],
    channels_last: bool,
    levels: int,
    device: str,
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = [feature.contiguous(memory_format=layout) for feature in feature_maps(PYRAMID[2:][:levels], channels=12)]
    rois, kernels = random_rois(19), TorchKernels(host_kernels)
    elsewhere = kernels.multilevel_roi_align(maps, rois, 7, 0, 56)
    schedule(0, *DEVICES[device])
    expected = kernels.multilevel_roi_align(maps, rois, 7, 0, 56)
    # The order of a bin's sum may depend on which RoIs share a block, but on nothing else.
    tolerance = TOLERANCES["exact in float32"]
    torch.testing.assert_close(expected, elsewhere, atol=tolerance.absolute, rtol=tolerance.relative)
    schedule(7, *DEVICES[device])
    assert torch.equal(kernels.multilevel_roi_align(maps, rois, 7, 0, 56), expected)


def same_rows(count: int) -> Tensor:
    """Boxes cut off at the top and bottom of a 256 × 192 image, one of them of no width."""
    generator = torch.Generator().manual_seed(3)
    left, width = torch.rand(2, count, generator=generator) * 128
    width[1] = 0
    zero = torch.zeros(count)
    return torch.stack([zero, left, zero, left + width, zero + 192], dim=1)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("channels_last", [False, True], ids=["planar", "interleaved"])
@pytest.mark.parametrize("size", [7, 14, 28, 56])
def test_rois_of_the_same_rows(
    host_kernels: Kernels,
    schedule: Callable[[int, int, int], None],
    dtype: torch.dtype,
    channels_last: bool,
    size: int,
) -> None:
    """They share sums down the columns; boxes of other rows or another image in the same group must not."""
    schedule(5, *DEVICES["small"])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = [feature.to(dtype).contiguous(memory_format=layout) for feature in feature_maps(PYRAMID[:1], channels=16)]
    rois = torch.cat([same_rows(17), random_rois(3), same_rows(4)])
    rois[-2, 0] = 1
    found = TorchKernels(host_kernels).multilevel_roi_align(maps, rois, size, 0, 56)
    assert_equals_eager(found, maps, rois, size, 0)


@pytest.mark.parametrize("channels_last", [False, True], ids=["planar", "interleaved"])
def test_rois_of_the_same_rows_load_them_once(
    host_kernels: Kernels,
    host_functions: ctypes.CDLL,
    schedule: Callable[[int, int, int], None],
    channels_last: bool,
) -> None:
    """Sixteen boxes cost no more loads than one, whether they differ along x or not."""
    schedule(0, *DEVICES["small"])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = [feature.half().contiguous(memory_format=layout) for feature in feature_maps(PYRAMID[:1], channels=64)]
    loads = []
    for rois in (same_rows(16), random_rois(1).repeat(16, 1), random_rois(1)):
        host_functions.cuda_on_host_loads()
        TorchKernels(host_kernels).multilevel_roi_align(maps, rois, 14, 0, 56)
        loads.append(host_functions.cuda_on_host_loads())
    different_columns, equal, alone = loads
    assert equal == alone
    assert different_columns <= alone


wild = st.floats(width=32, allow_nan=True, allow_infinity=True)
tame = st.floats(-300, 600, width=32)
boxes = st.lists(st.lists(wild | tame, min_size=4, max_size=4), min_size=1, max_size=6)


@given(boxes=boxes, ratio=st.integers(0, 2), channels_last=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_box_gives_finite_values(
    host_library: str, boxes: list[list[float]], ratio: int, channels_last: bool
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = [feature.contiguous(memory_format=layout) for feature in feature_maps(PYRAMID[2:], channels=4, batch=1)]
    rois = torch.tensor([[0.0, *box] for box in boxes])
    found = TorchKernels(Kernels(host_library)).multilevel_roi_align(maps, rois, 3, ratio, 56)
    assert torch.isfinite(found).all()
    assert found.abs().max() <= max(feature.abs().max() for feature in maps) * (1 + 1e-5)


@given(box=st.lists(st.floats(-3000, 4000, width=32), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_boxes_outside_inverted_or_far_too_large(host_library: str, box: list[float]) -> None:
    maps, rois = feature_maps(PYRAMID, channels=4, batch=1), torch.tensor([[0.0, *box]])
    found = TorchKernels(Kernels(host_library)).multilevel_roi_align(maps, rois, 7, 0, 56)
    if box[2] < box[0] or box[3] < box[1]:
        assert (found == 0).all()  # torchvision on a CPU fails here
        return
    # A coordinate's rounding moves a sample over the rim of the map, where the value jumps to zero; so the reference
    # has float32 coordinates too.
    expected = multilevel_roi_align(maps, rois, 7, 0, 56)
    tolerance = TOLERANCES["roi_align float32"]
    torch.testing.assert_close(found, expected, atol=tolerance.absolute, rtol=tolerance.relative)


def test_images_of_no_batch_give_zeros(host_kernels: Kernels) -> None:
    rois = random_rois(6)
    rois[:3, 0] = torch.tensor([-1, 2, float("nan")])
    found = TorchKernels(host_kernels).multilevel_roi_align(feature_maps(PYRAMID), rois, 7, 0, 56)
    assert (found[:3] == 0).all()


def test_channels_that_fill_no_vector_are_padded_with_zeros(host_kernels: Kernels) -> None:
    """TensorRT's kHWC8: nine channels in the space of sixteen."""
    channels, padded = 9, 16
    (feature,) = feature_maps(PYRAMID[:1], channels=channels)
    half, rois = feature.half(), random_rois(5)
    stored = torch.full((2, *PYRAMID[0], padded), float("nan"), dtype=torch.float16)
    stored[..., :channels] = half.permute(0, 2, 3, 1)
    found = torch.full((5, 7, 7, padded), float("nan"), dtype=torch.float16)
    host_kernels.roi_align(
        [FeatureMap(stored.data_ptr(), *PYRAMID[0])],
        rois.data_ptr(),
        found.data_ptr(),
        batch=2,
        channels=channels,
        num_rois=5,
        output_size=7,
        sampling_ratio=0,
        finest_scale=56,
        type=1,
        layout=1,
    )
    assert (found[..., channels:] == 0).all()
    assert_equals_eager(found[..., :channels].permute(0, 3, 1, 2), [half], rois, 7, 0)


def test_no_rois_is_no_error(host_kernels: Kernels) -> None:
    found = TorchKernels(host_kernels).multilevel_roi_align(feature_maps(PYRAMID), torch.empty(0, 5), 7, 0, 56)
    assert found.shape == (0, 8, 7, 7)


def test_a_refused_launch_says_why(host_kernels: Kernels) -> None:
    with pytest.raises(KernelError, match=r"refinemask_roi_align: .*output_size=0"):
        TorchKernels(host_kernels).multilevel_roi_align(feature_maps(PYRAMID), random_rois(3), 0, 0, 56)


def test_numpy_is_enough_to_call_the_kernels(host_kernels: Kernels) -> None:
    """The C interface takes addresses, whoever owns the memory."""
    feature = np.ones((1, 3, 10, 10), np.float32)
    rois, found = np.array([[0, 4, 4, 32, 32]], np.float32), np.empty((1, 3, 2, 2), np.float32)
    host_kernels.roi_align(
        [FeatureMap(feature.ctypes.data, 10, 10)],
        rois.ctypes.data,
        found.ctypes.data,
        batch=1,
        channels=3,
        num_rois=1,
        output_size=2,
        sampling_ratio=0,
        finest_scale=56,
        type=0,
    )
    assert_near(found, 1, "one float32 operation")
