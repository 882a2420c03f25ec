"""The suite's checks of awkward RoIAlign problems, on the kernels compiled for the CPU."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.gpu_suite import numerics
from benchmarks.gpu_suite.cases import EMPTY_ROIS, RoIAlignCase
from benchmarks.gpu_suite.numerics import Check, relative_error
from engines.compiled.conv_relu import conv_relu
from tests.support.host_kernels import build_cache, host_functions, host_kernels, host_library, schedule
from trt_plugins.c_api import PLANAR, Kernels
from trt_plugins.torch_kernels import TorchKernels

__all__ = ["build_cache", "host_functions", "host_kernels", "host_library", "schedule"]

PYRAMID = RoIAlignCase(name="pyramid", levels=4, channels=8, rois=40, output_size=7, image=(128, 192), batch=2)
ONE_MAP = replace(PYRAMID, name="one map", levels=1, channels=16)
Checks = Callable[[TorchKernels, str, Iterable[RoIAlignCase]], Iterator[Check]]
CHECKS: list[tuple[Checks, list[RoIAlignCase], int]] = [
    (numerics.check_roi_align, [PYRAMID, replace(ONE_MAP, rois=0)], 24),
    (numerics.check_empty_boxes, [PYRAMID, ONE_MAP], 12),
    (numerics.check_channel_slices, [PYRAMID, ONE_MAP], 6),
    (numerics.check_padded_channels, [replace(PYRAMID, channels=13), replace(ONE_MAP, channels=1)], 6),
    (numerics.check_padded_channels, [replace(ONE_MAP, channels=1, rois=0)], 3),
    (
        numerics.check_joint_maps,
        [replace(ONE_MAP, channels=13), replace(ONE_MAP, name="no RoI", channels=1, rois=0)],
        12,
    ),
]


@pytest.mark.parametrize(("check", "cases", "count"), CHECKS, ids=lambda value: getattr(value, "__name__", None))
def test_awkward_cases_pass(host_kernels: Kernels, check: Checks, cases: list[RoIAlignCase], count: int) -> None:
    checks = [*check(TorchKernels(host_kernels), "cpu", cases)]
    assert len(checks) == len({each.name for each in checks}) == count
    assert [each.name for each in checks if not each.passed] == []


class Shifted(TorchKernels):
    """Kernels that read each map and write each result one place too far."""

    def multilevel_roi_align(self, features: Sequence[Tensor], *arguments: object) -> Tensor:
        moved = [feature.roll(1, dims=1) for feature in features]
        return super().multilevel_roi_align(moved, *arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("check", [numerics.check_empty_boxes, numerics.check_channel_slices])
def test_awkward_cases_fail_where_a_kernel_is_wrong(host_kernels: Kernels, check: Checks) -> None:
    assert not any(each.passed for each in check(Shifted(host_kernels), "cpu", [PYRAMID]))


def test_padding_that_is_not_zero_fails(host_kernels: Kernels) -> None:
    run = host_kernels.roi_align

    def without_padding(*arguments: object, channels: int, **options: object) -> None:
        run(*arguments, channels=-(-channels // 8) * 8, **options)  # type: ignore[arg-type]

    host_kernels.roi_align = without_padding  # type: ignore[method-assign]
    cases = [replace(PYRAMID, channels=13)]
    assert not any(each.passed for each in numerics.check_padded_channels(TorchKernels(host_kernels), "cpu", cases))


@pytest.mark.parametrize("changed", [{"map_channels": 13}, {"batch": 1}, {"channels": 12}], ids=str)
def test_channels_of_another_image_or_number_fail(host_kernels: Kernels, changed: dict[str, int]) -> None:
    """Planar: where images lie, how many there are, and how many channels of each."""
    run = host_kernels.roi_align

    def elsewhere(*arguments: object, layout: int, **options: object) -> None:
        run(*arguments, layout=layout, **options | (changed if layout == PLANAR else {}))  # type: ignore[arg-type]

    host_kernels.roi_align = elsewhere  # type: ignore[method-assign, assignment]
    checks = [*numerics.check_joint_maps(TorchKernels(host_kernels), "cpu", [replace(ONE_MAP, channels=13)])]
    assert [each.passed for each in checks] == [False, True] * 3


def test_empty_boxes_pool_zeros_from_a_map_of_ones(host_kernels: Kernels) -> None:
    """With a number in place of NaN, the same boxes pool ones."""
    features, rois = [torch.ones(2, 8, 32, 48)], torch.tensor(EMPTY_ROIS)
    pooled = TorchKernels(host_kernels).multilevel_roi_align(features, rois, 7, 0, 56)
    assert pooled.shape[0] == len(EMPTY_ROIS)
    assert not pooled.any()
    numbers = rois[:4].nan_to_num(30)
    assert TorchKernels(host_kernels).multilevel_roi_align(features, numbers, 7, 0, 56).all()


def test_convolutions_are_checked_with_and_without_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [*numerics.check_conv_relu("cpu")]
    assert len(checks) == len({each.name for each in checks}) == 6
    assert [each.name for each in checks if not each.passed] == []

    def poisoned(*arguments: Any) -> Tensor:
        """A convolution that makes NaN of a place of its result."""
        result = conv_relu(*arguments)
        result[-1, -1, -1, -1] = torch.nan
        return result

    monkeypatch.setattr(numerics, "conv_relu", poisoned)
    assert not any(each.passed for each in numerics.check_conv_relu("cpu"))
    monkeypatch.setattr(numerics, "conv_relu", lambda *arguments: conv_relu(*arguments[:3], None, *arguments[4:]))
    assert [each.passed for each in numerics.check_conv_relu("cpu")] == [True, False] * 3


def test_results_of_another_shape_are_wrong() -> None:
    assert relative_error(torch.ones(2, 1), torch.ones(2, 3).double()) == float("inf")
    assert relative_error(torch.ones(0, 3), torch.ones(0, 3).double()) == 0
    assert relative_error(torch.ones(0, 2), torch.ones(0, 3).double()) == float("inf")
