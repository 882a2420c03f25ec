"""Where the RoIAlign kernels read and write: slices of channels, odd layouts, and problems they refuse."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from refinemask.ops import multilevel_roi_align
from tests.support.tolerances import TOLERANCES
from trt_plugins.c_api import FeatureMap, KernelError, Kernels
from trt_plugins.torch_kernels import TorchKernels

PYRAMID = ((48, 64), (24, 32), (12, 16), (1, 1))
ROIS = torch.tensor(
    [[0, 3, 5, 200, 150], [1, 10, 10, 40, 60], [0, 0, 0, 256, 192], [1, -30, 20, 50, 300], [1, 0, 0, 500, 500.0]]
)
TYPES = [torch.float32, torch.float16, torch.bfloat16]


def wide_maps(levels: int, channels: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Channels-last maps [2, channels, H, W]."""
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, channels, *shape, generator=generator) for shape in PYRAMID[:levels]]
    return [feature.to(dtype, memory_format=torch.channels_last) for feature in maps]


@dataclass
class Recording(TorchKernels):
    """Kernels that remember the maps they were called with."""

    kernels: Kernels
    levels: list[FeatureMap] = field(default_factory=list)
    map_channels: int | None = None
    layout: int | None = None

    def __post_init__(self) -> None:
        run = self.kernels.roi_align

        def record(levels: list[FeatureMap], *arguments: Any, **options: Any) -> None:
            self.levels, self.map_channels, self.layout = levels, options["map_channels"], options["layout"]
            run(levels, *arguments, **options)

        self.kernels.roi_align = record  # type: ignore[method-assign, assignment]

    def reads(self, maps: list[Tensor]) -> bool:
        """Whether the maps themselves were read, not copies of them."""
        return [level.address for level in self.levels] == [feature.data_ptr() for feature in maps]


@pytest.fixture
def recording(host_kernels: Kernels) -> Recording:
    return Recording(host_kernels)


def assert_equals_eager(found: Tensor, maps: list[Tensor], size: int = 7) -> None:
    """In values, and in strides."""
    expected = multilevel_roi_align(maps, ROIS, size, 0, 56)
    assert found.stride() == expected.stride()
    reference = multilevel_roi_align([feature.double() for feature in maps], ROIS, size, 0, 56)
    tolerance = TOLERANCES[f"roi_align {str(found.dtype).removeprefix('torch.')}"]
    torch.testing.assert_close(found.double(), reference, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize(("first", "last"), [(16, 32), (0, 8), (24, 48)])
def test_slices_of_channels_are_read_in_place(
    recording: Recording, dtype: torch.dtype, levels: int, first: int, last: int
) -> None:
    slices = [feature[:, first:last] for feature in wide_maps(levels, 48, dtype)]
    found = recording.multilevel_roi_align(slices, ROIS, 7, 0, 56)
    assert recording.reads(slices)
    assert recording.map_channels == 48
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert_equals_eager(found, slices)
    dense = [part.clone(memory_format=torch.channels_last) for part in slices]
    assert torch.equal(recording.multilevel_roi_align(dense, ROIS, 7, 0, 56), found)
    assert recording.reads(dense)


@pytest.mark.parametrize("shared_kilobytes", [100, 228])
def test_slices_share_sums_of_rows_like_dense_maps(
    recording: Recording, schedule: Callable[[int, int, int], None], shared_kilobytes: int
) -> None:
    schedule(3, 1, shared_kilobytes)
    (wide,) = wide_maps(1, 40)
    rois = torch.tensor([[1.0, 8 * i, 0, 9 * i + 100, 192] for i in range(16)])
    found = recording.multilevel_roi_align([wide[:, 8:32]], rois, 14, 0, 56)
    assert recording.map_channels == 40
    expected = recording.multilevel_roi_align([wide[:, 8:32].contiguous()], rois, 14, 0, 56)
    tolerance = TOLERANCES["exact in float32"]
    torch.testing.assert_close(found, expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("first", "last"), [(0, 13), (3, 4), (5, 20), (19, 20)])
def test_channels_of_a_planar_map_of_two_images_are_read_in_place(
    host_kernels: Kernels, dtype: torch.dtype, first: int, last: int
) -> None:
    """An image begins where the wider map's does, wherever the slice begins."""
    joint = wide_maps(1, 20, dtype)[0].contiguous()
    part, height, width = joint[:, first:last], *PYRAMID[0]
    found = torch.full((len(ROIS), last - first, 7, 7), float("nan"), dtype=dtype)
    host_kernels.roi_align(
        [FeatureMap(part.data_ptr(), height, width)],
        ROIS.data_ptr(),
        found.data_ptr(),
        batch=2,
        channels=last - first,
        map_channels=20,
        num_rois=len(ROIS),
        output_size=7,
        sampling_ratio=0,
        finest_scale=56,
        type=TYPES.index(dtype),
    )
    assert torch.equal(found, TorchKernels(host_kernels).multilevel_roi_align([part.contiguous()], ROIS, 7, 0, 56))
    assert_equals_eager(found, [part.contiguous()])


def off_the_grid() -> dict[str, list[Tensor]]:
    wide = wide_maps(2, 48, torch.float16)
    (odd,) = wide_maps(1, 45, torch.float16)
    (dense,) = wide_maps(1, 16, torch.float16)
    storage = torch.empty(dense.numel() + 1, dtype=torch.float16)
    shifted = storage[1:].as_strided(dense.shape, dense.stride(), 1).copy_(dense)
    return {
        "offset": [feature[:, 4:20] for feature in wide],
        "pixel": [odd[:, 8:24]],
        "address": [shifted],
        "different pixels": [wide[0][:, :16], wide[1][:, :16].clone(memory_format=torch.channels_last)],
        "rows apart": [wide[0][:, :16, ::2]],
        "columns apart": [wide[0][:, :16, :, ::3]],
        "cut off on the right": [wide[0][:, :16, :, :60]],
        "every second image": [dense.repeat(2, 1, 1, 1).to(memory_format=torch.channels_last)[::2]],
        "one cell for all": [torch.ones(1, 16, 1, 1).expand(2, 16, 20, 24)],
        "a planar map behind": [dense, torch.randn(2, 16, 9, 11).half()],
    }


@pytest.mark.parametrize("name", off_the_grid())
def test_maps_that_are_no_whole_vectors_are_copied(recording: Recording, name: str) -> None:
    maps = off_the_grid()[name]
    found = recording.multilevel_roi_align(maps, ROIS, 7, 0, 56)
    assert not recording.reads(maps)
    assert recording.map_channels == 0
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert_equals_eager(found, maps)


@pytest.mark.parametrize("channels", [3, 13])
def test_odd_channels_stay_channels_last(recording: Recording, channels: int) -> None:
    """Though the kernel pools them planar."""
    maps = wide_maps(4, channels, torch.float16)
    found = recording.multilevel_roi_align(maps, ROIS, 7, 0, 56)
    assert recording.layout == 0
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert_equals_eager(found, maps)


def test_one_channel_and_one_cell_count_as_planar(recording: Recording) -> None:
    maps = wide_maps(1, 48)
    for feature in (maps[0][:, 8:9], torch.randn(2, 16, 1, 1), wide_maps(4, 16)[3]):
        found = recording.multilevel_roi_align([feature], ROIS, 7, 0, 56)
        assert recording.layout == 0
        assert found.is_contiguous()
        assert_equals_eager(found, [feature])


def test_a_planar_first_map_decides(recording: Recording) -> None:
    maps = [wide_maps(1, 16)[0].contiguous(), *wide_maps(2, 16)[1:]]
    found = recording.multilevel_roi_align(maps, ROIS, 7, 0, 56)
    assert found.is_contiguous()
    assert_equals_eager(found, maps)


def test_indices_stay_exact_where_a_block_has_millions_of_outputs(
    host_kernels: Kernels, schedule: Callable[[int, int, int], None]
) -> None:
    """On a device of more shared memory than there is yet: 4800 rows of 128 bins, for 16 RoIs."""
    schedule(0, 1, 2000)
    feature = torch.randn(1, 160, 2, 1200, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0, 2.0, 0, 8 + i / 16, 8] for i in range(16)])
    found = TorchKernels(host_kernels).multilevel_roi_align([feature], rois, 128, 0, 56)
    tolerance = TOLERANCES["roi_align float32"]
    expected = multilevel_roi_align([feature.double()], rois, 128, 0, 56)
    torch.testing.assert_close(found.double(), expected, atol=tolerance.absolute, rtol=tolerance.relative)


REFUSED: dict[str, dict[str, Any]] = {
    "there are not 1 to 8192 channels": {"channels": 8193},
    "a map has no cell, or more than 65536 columns": {"levels": [FeatureMap(0, 8, 1 << 17)]},
    "there are not 1 to 4 maps": {"levels": []},
    "the type is not float, half or bfloat16": {"type": 3},
    "the layout is neither planar nor interleaved": {"layout": 2},
    "the output size is not 1 to 128, or the sampling ratio not 0 to 64": {"sampling_ratio": 65},
    "the finest scale is not positive": {"finest_scale": 0},
    "the number of images or RoIs is negative": {"num_rois": -1},
    "an interleaved map does not start at a multiple of 16 bytes": {"levels": [FeatureMap(8, 8, 8)]},
    "a RoI's samples do not fit in a block's shared memory": {"output_size": 128, "sampling_ratio": 64},
}
MAP_CHANNELS = [
    {"map_channels": 12, "type": 1},
    {"map_channels": 4},
    {"map_channels": 7, "layout": 0},
    {"map_channels": 8196},
]
REFUSALS = [*REFUSED.items(), *(("the maps have fewer channels than are pooled", each) for each in MAP_CHANNELS)]


@pytest.mark.parametrize(("reason", "change"), REFUSALS, ids=str)
def test_what_cannot_be_run_is_refused_in_words(host_kernels: Kernels, reason: str, change: dict[str, Any]) -> None:
    call: dict[str, Any] = {
        "levels": [FeatureMap(0, 8, 8)],
        "rois": 0,
        "output": 0,
        "batch": 1,
        "channels": 8,
        "num_rois": 0,
        "output_size": 7,
        "sampling_ratio": 0,
        "finest_scale": 56,
        "type": 0,
        "layout": 1,
    }
    host_kernels.roi_align(**call)
    with pytest.raises(KernelError, match=f"refinemask_roi_align: {reason}.*; it was called with .*num_rois="):
        host_kernels.roi_align(**call | change)
