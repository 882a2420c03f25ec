"""The kernel of the labels' logits, run on the CPU, against float64 and the eager operators."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from refinemask.ops import label_logits, upsampled_label_logits
from tests.support.tolerances import TOLERANCES
from trt_plugins.c_api import BFLOAT16, FLOAT, HALF, INTERLEAVED, PLANAR, KernelError, Kernels
from trt_plugins.torch_kernels import TorchKernels

TYPES = [torch.float32, torch.float16, torch.bfloat16]
CODES = {torch.float32: FLOAT, torch.float16: HALF, torch.bfloat16: BFLOAT16}
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@dataclass(frozen=True)
class Problem:
    """What an operator reads."""

    features: Tensor
    masks: Tensor | None
    weight: Tensor
    bias: Tensor
    labels: Tensor

    @classmethod
    def random(
        cls, channels: int, size: int, mask_channels: int, *, rois: int = 3, rows: int = 5, dtype: torch.dtype
    ) -> "Problem":
        generator = torch.Generator().manual_seed(100 * channels + size)
        shape = rois, mask_channels, 2 * size, 2 * size
        weight = torch.randn(rows, channels + mask_channels, generator=generator) / channels**0.5
        return cls(
            torch.randn(rois, channels, size, size, generator=generator).to(dtype),
            torch.rand(shape, generator=generator).to(dtype) if mask_channels else None,
            weight.to(dtype),
            torch.randn(rows, generator=generator).to(dtype),
            torch.randint(0, rows, (rois,), generator=generator).int(),
        )

    def run(self, kernels: Kernels, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
        features = self.features.to(memory_format=layout)
        return TorchKernels(kernels).label_logits(features, self.masks, self.weight, self.bias, self.labels)

    def in_float64(self) -> NDArray[np.float64]:
        """The definition: the features put together, and one dot product for each pixel."""
        maps = [self.features.double().numpy()]
        if self.masks is not None:
            axis = interpolation(maps[0].shape[2])
            maps = [axis @ maps[0] @ axis.T, self.masks.double().numpy()]
        labels = self.labels.numpy().clip(0, len(self.weight) - 1)
        weight, bias = self.weight.double().numpy()[labels], self.bias.double().numpy()[labels]
        logits = np.einsum("rc,rcyx->ryx", weight, np.concatenate(maps, axis=1)) + bias[:, None, None]
        return logits[:, None]

    def eager(self) -> Tensor:
        if self.masks is None:
            return label_logits(self.features, self.weight, self.bias, self.labels)
        return upsampled_label_logits(self.features, self.masks, self.weight, self.bias, self.labels)


def interpolation(size: int) -> NDArray[np.float64]:
    """The matrix [2s, s] of bilinear upsampling with half-pixel centres."""
    position = ((np.arange(2 * size) + 0.5) / 2 - 0.5).clip(0, size - 1)
    low = np.floor(position).astype(int)
    matrix = np.zeros((2 * size, size))
    np.add.at(matrix, (np.arange(2 * size), low), 1 - position + low)
    np.add.at(matrix, (np.arange(2 * size), np.minimum(low + 1, size - 1)), position - low)
    return matrix


def assert_equals_float64(found: Tensor, problem: Problem) -> None:
    tolerance = TOLERANCES["label logits of a kernel"]
    expected = problem.in_float64()
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("multiprocessors", [1, 132])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(
    ("channels", "size", "mask_channels"),
    [(16, 14, 0), (24, 5, 2), (8, 9, 3), (40, 1, 1), (7, 4, 2), (1, 3, 0), (320, 2, 0), (64, 12, 1)],
)
def test_equals_float64(
    host_kernels: Kernels,
    schedule: Callable[[int, int, int], None],
    channels: int,
    size: int,
    mask_channels: int,
    dtype: torch.dtype,
    layout: torch.memory_format,
    multiprocessors: int,
) -> None:
    """Whole and odd vectors of channels, more than a warp reads at once, one pixel, one band and many."""
    schedule(7, multiprocessors, 100)
    problem = Problem.random(channels, size, mask_channels, dtype=dtype)
    assert_equals_float64(problem.run(host_kernels, layout), problem)


@pytest.mark.parametrize("mask_channels", [0, 2])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_equals_the_eager_operator(host_kernels: Kernels, dtype: torch.dtype, mask_channels: int) -> None:
    """Which rounds in the type of the features where the kernel has float32."""
    problem = Problem.random(32, 7, mask_channels, dtype=dtype)
    tolerance = TOLERANCES[f"label logits {str(dtype).removeprefix('torch.')}"]
    found = problem.run(host_kernels, torch.channels_last)
    torch.testing.assert_close(found, problem.eager(), atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_single_row_serves_every_label(host_kernels: Kernels, layout: torch.memory_format) -> None:
    problem = Problem.random(16, 6, 2, rows=1, dtype=torch.float16)
    problem.labels[:] = torch.tensor([0, 3, 79])
    assert_equals_float64(problem.run(host_kernels, layout), problem)


def test_labels_that_no_row_has_read_nothing_else(host_kernels: Kernels) -> None:
    """A builder times a plugin on whatever lies in memory."""
    problem = Problem.random(16, 6, 0, rows=4, dtype=torch.float32)
    problem.labels[:] = torch.tensor([-(2**31), 2**31 - 1, 4])
    assert_equals_float64(problem.run(host_kernels), problem)


@pytest.mark.parametrize("mask_channels", [0, 2])
@pytest.mark.parametrize("dtype", TYPES[1:], ids=str)
@pytest.mark.parametrize("channels", [13, 1, 126])
def test_padding_is_not_read(host_kernels: Kernels, dtype: torch.dtype, channels: int, mask_channels: int) -> None:
    """TensorRT pads channels-last maps to whole vectors, with anything."""
    problem = Problem.random(channels, 5, mask_channels, dtype=dtype)
    stored = torch.nn.functional.pad(problem.features.permute(0, 2, 3, 1), (0, -channels % 8), value=float("nan"))
    found = torch.full((3, 1, *[10 if mask_channels else 5] * 2), float("nan"))
    host_kernels.label_logits(
        stored.contiguous().data_ptr(),
        None if problem.masks is None else problem.masks.data_ptr(),
        *(x.data_ptr() for x in (problem.weight, problem.bias, problem.labels, found)),
        num_rois=3,
        channels=channels,
        mask_channels=mask_channels,
        num_rows=5,
        size=5,
        type=CODES[dtype],
        layout=INTERLEAVED,
    )
    assert_equals_float64(found, problem)


def test_large_maps_are_cut_into_bands_that_fit(
    host_kernels: Kernels, schedule: Callable[[int, int, int], None]
) -> None:
    schedule(0, 1, 100)
    problem = Problem.random(2, 200, 1, rois=1, dtype=torch.float32)
    assert_equals_float64(problem.run(host_kernels), problem)


@pytest.mark.parametrize("mask_channels", [0, 2])
def test_no_rois_is_no_error(host_kernels: Kernels, mask_channels: int) -> None:
    problem = Problem.random(8, 4, mask_channels, rois=0, dtype=torch.float32)
    assert problem.run(host_kernels).shape == (0, 1, *[8 if mask_channels else 4] * 2)


@pytest.mark.parametrize(
    "change",
    [
        {"type": 3},
        {"layout": 2},
        {"num_rois": -1},
        {"channels": 0},
        {"channels": 4097},
        {"mask_channels": 4089},
        {"mask_channels": -1},
        {"num_rows": 0},
        {"size": 0},
        {"size": 1025},
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(host_kernels: Kernels, change: dict[str, Any]) -> None:
    call: dict[str, Any] = {
        **{"features": 0, "masks": None, "weight": 0, "bias": 0, "labels": 0, "output": 0},
        **{"num_rois": 0, "channels": 8, "mask_channels": 0, "num_rows": 3, "size": 4, "type": FLOAT},
        "layout": PLANAR,
    }
    host_kernels.label_logits(**call)
    name, value = next(iter(change.items()))
    with pytest.raises(KernelError, match=rf"refinemask_label_logits: .*{name}={value}"):
        host_kernels.label_logits(**call | change)
