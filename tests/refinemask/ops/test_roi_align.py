from pathlib import Path

import pytest
import torch
import torch._inductor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.ops import roi_align

from refinemask.ops import multilevel_roi_align, roi_levels
from refinemask.ops.roi_align import has_inner_channels
from tests.support.tolerances import TOLERANCES

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


PLANAR, WIDE = torch.zeros(2, 16, 20, 24), torch.zeros(2, 48, 20, 24).to(memory_format=torch.channels_last)
INNER_CHANNELS = {
    "channels last": WIDE,
    "slice": WIDE[:, 16:32],
    "odd slice": WIDE[:, 3:16],
    "one row": WIDE[:1, :, :1],
    "slice of one cell": WIDE[:, :16, :1, :1],
    "one cell for all": torch.zeros(1, 16, 1, 1).expand(2, 16, 20, 24),
}
OUTER_CHANNELS = {
    "planar": PLANAR,
    "planar slice": PLANAR[:, 4:8],
    "one channel": PLANAR[:, :1],
    "one channel of channels last": WIDE[:, 7:8],
    "one cell": torch.zeros(2, 16, 1, 1),
    "one cell, channels last": torch.zeros(2, 16, 1, 1).to(memory_format=torch.channels_last),
    "no image": PLANAR[:0].to(memory_format=torch.channels_last),
    "rows innermost": PLANAR.transpose(2, 3),
}


@pytest.mark.parametrize("name", [*INNER_CHANNELS, *OUTER_CHANNELS])
def test_the_result_and_its_fake_have_the_map_s_memory_format(name: str) -> None:
    feature = (INNER_CHANNELS | OUTER_CHANNELS)[name]
    rois = ROIS[ROIS[:, 0] < feature.shape[0]]
    pooled = multilevel_roi_align([feature], rois, 7, 0, 56)
    channels_last = name in INNER_CHANNELS
    assert has_inner_channels(feature) == channels_last
    assert pooled.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    with FakeTensorMode() as mode:
        fake = multilevel_roi_align([mode.from_tensor(feature)], mode.from_tensor(rois), 7, 0, 56)
    assert fake.stride() == pooled.stride()
    torch.library.opcheck(
        multilevel_roi_align, ([feature], rois, 7, 0, 56), test_utils=("test_schema", "test_faketensor")
    )


def test_fakes_of_a_device_have_the_map_s_memory_format() -> None:
    """Whatever kernels are registered for the device, and whether there is one or not."""
    with FakeTensorMode():
        wide = torch.empty(2, 48, 20, 24, device="cuda").to(memory_format=torch.channels_last)
        pooled = multilevel_roi_align([wide[:, 16:32]], torch.empty(5, 5, device="cuda"), 7, 0, 56)
    assert pooled.device.type == "cuda"
    assert pooled.stride() == (784, 1, 112, 16)


def test_strides_of_single_rows_and_channels_decide_nothing() -> None:
    """Compilers change them at will, between the fake and the call."""
    for size, stride in (((2, 1, 20, 24), (480, 480, 24, 1)), ((1, 16, 1, 24), (384, 1, 384, 16))):
        storage = torch.zeros(2000)
        feature = storage.as_strided(size, stride)
        for dim in (dim for dim in range(4) if size[dim] == 1):
            changed = list(stride)
            changed[dim] = 1
            assert has_inner_channels(storage.as_strided(size, changed)) == has_inner_channels(feature)


class Pool(torch.nn.Module):
    """Pool a map [B, 48, H, W], and parts of it."""

    def forward(self, wide: torch.Tensor, rois: torch.Tensor) -> list[torch.Tensor]:
        maps = [wide, *wide.split([16, 24, 8], dim=1), wide[:, :1], wide.contiguous()]
        return [multilevel_roi_align([feature], rois, 7, 0, 56) for feature in maps]


def test_exported_strides_are_those_of_the_call() -> None:
    """With sizes that are known, and with sizes that are not."""
    wide = torch.randn(1, 48, 20, 24).to(memory_format=torch.channels_last)
    dims = {name: torch.export.Dim(name, min=8, max=64) for name in ("h", "w", "r")}
    expected = [pooled.stride() for pooled in Pool()(wide, ROIS[::2])]
    for dynamic_shapes in (None, ({2: dims["h"], 3: dims["w"]}, {0: dims["r"]})):
        program = torch.export.export(Pool(), (wide, ROIS[::2].repeat(8, 1)), dynamic_shapes=dynamic_shapes)
        pooled = [node for node in program.graph.nodes if "multilevel_roi_align" in str(node.target)]
        assert [node.meta["val"].stride() for node in pooled] == expected
        assert len(set(expected)) == 6


@pytest.mark.slow
def test_code_compiled_ahead_of_time_finds_the_strides_it_expects(tmp_path: Path) -> None:
    image = torch.randn(1, 3, 20, 24)
    convolution = torch.nn.Conv2d(3, 48, 3, padding=1).requires_grad_(False)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.pool = convolution, Pool()

        def forward(self, image: torch.Tensor, rois: torch.Tensor) -> list[torch.Tensor]:
            return [pooled * 2 for pooled in self.pool(self.convolution(image), rois)]

    model = Model().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = image.to(memory_format=torch.channels_last), ROIS[::2]
    package = str(tmp_path / "pool.pt2")
    torch._inductor.aoti_compile_and_package(torch.export.export(model, inputs), package_path=package)
    found, expected = torch._inductor.aoti_load_package(package)(*inputs), model(*inputs)
    assert [pooled.stride() for pooled in found] == [pooled.stride() for pooled in expected]
    tolerance = TOLERANCES["exact in float32"]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance.absolute, rtol=tolerance.relative)


def test_schema_and_fake_kernel() -> None:
    torch.library.opcheck(
        multilevel_roi_align, (pyramid(), ROIS, 7, 0, 56), test_utils=("test_schema", "test_faketensor")
    )
