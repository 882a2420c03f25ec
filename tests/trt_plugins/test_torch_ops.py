"""The CUDA registration of the operators. The kernels' arithmetic is tested elsewhere, on a CPU."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from refinemask.ops import boundary_merge, fixed_nms, multilevel_roi_align, top_k, top_k_segments
from tests.support.tolerances import TOLERANCES
from trt_plugins import kernels_path, torch_ops
from trt_plugins.c_api import Kernels


def test_nothing_is_registered_without_a_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trt_plugins.LIBRARY_DIR", tmp_path)
    assert not torch_ops.enable_if_available()


SWITCHED_OFF = ExitStack()


@contextmanager
def enabled(kernels: Kernels, device_type: str) -> Iterator[None]:
    SWITCHED_OFF.close()
    torch_ops.enable(kernels, device_type)
    try:
        yield
    finally:
        for operator in (multilevel_roi_align, fixed_nms, top_k, top_k_segments, boundary_merge):
            # A registration cannot be taken back, only switched off.
            SWITCHED_OFF.enter_context(operator.set_kernel_enabled(device_type, False))


@pytest.fixture(scope="module")
def cuda_kernels() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    try:
        kernels = Kernels(kernels_path())
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with enabled(kernels, "cuda"):
        yield


@pytest.fixture
def recorded(host_library: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that ran, in order."""
    calls: list[str] = []

    def recording(name: str) -> Callable[..., None]:
        run = getattr(Kernels, name)

        def record(*arguments: Any, **options: Any) -> None:
            calls.append(name)
            run(*arguments, **options)

        return record

    for name in ("roi_align", "fixed_nms", "top_k_segments", "boundary_merge"):
        monkeypatch.setattr(Kernels, name, recording(name))
    return calls


def test_the_dispatcher_takes_the_kernels_where_it_can(host_library: Path, recorded: list[str]) -> None:
    """With the kernels compiled for the CPU, as the CPU implementation."""
    maps, rois = [torch.randn(1, 8, 20, 24)], rois_of(5, "cpu")
    boxes, scores = rois[None, :, 1:].contiguous(), torch.rand(1, 5)
    coarse, fine = torch.randn(2, 1, 7, 7), torch.randn(2, 1, 14, 14)

    def results() -> list[Tensor]:
        pooled = multilevel_roi_align(maps, rois, 7, 0, 56)
        kept, selected = fixed_nms(boxes, scores, 0.5, 5), top_k(scores, 3)
        return [pooled, *kept, *selected, *top_k_segments(scores, [3, 2], 2), boundary_merge(coarse, fine)]

    expected = results()
    with enabled(Kernels(host_library), "cpu"):
        found = results()
        assert recorded == ["roi_align", "fixed_nms", "top_k_segments", "top_k_segments", "boundary_merge"]
        double = multilevel_roi_align([maps[0].double()], rois, 7, 0, 56)
        assert double.dtype == torch.float64
        fixed_nms(torch.zeros(1, 5000, 4), torch.zeros(1, 5000), 0.5, 1)
        assert top_k(scores.double(), 3)[0].dtype == torch.float64
        top_k(torch.zeros(1, 5000), 5000)
        assert top_k_segments(scores.double(), [3, 2], 2)[0].dtype == torch.float64
        top_k_segments(torch.zeros(1, 10_000), [5000, 5000], 5000)
        assert len(recorded) == 5, "float64, 5000 boxes and the best 5000 go to the eager definition"
        with torch_ops.disabled("cpu"):
            results()
        assert len(recorded) == 5, "nor does anything go to the kernels where they are disabled"
        results()
        assert len(recorded) == 10
        assert top_k_segments(scores.repeat(1, 9), [5] * 9, 1)[0].eq(scores.max()).all()
        assert recorded[10:] == ["top_k_segments"] * 9, "more segments than a kernel takes are rows"
    results()
    assert len(recorded) == 19
    tolerance = TOLERANCES["roi_align float32"]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("channels", [slice(16, 32), slice(3, 16), slice(0, 48), slice(7, 8)], ids=str)
def test_registered_kernels_keep_the_fake_s_strides(host_library: Path, recorded: list[str], channels: slice) -> None:
    wide = torch.randn(2, 48, 20, 24).to(memory_format=torch.channels_last)
    arguments = [wide[:, channels]], rois_of(5, "cpu"), 7, 0, 56
    expected = multilevel_roi_align(*arguments)
    with enabled(Kernels(host_library), "cpu"):
        found = multilevel_roi_align(*arguments)
        assert found.stride() == expected.stride()
        assert recorded == ["roi_align"]
        torch.library.opcheck(multilevel_roi_align, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("shape", [(6, 4), (6, 6), (6,), (1, 6, 5)], ids=str)
def test_rois_that_are_not_r_5_are_refused(host_library: Path, recorded: list[str], shape: tuple[int, ...]) -> None:
    kernels = torch_ops.TorchKernels(Kernels(host_library))
    with pytest.raises(ValueError, match=rf"rois are {re.escape(str(list(shape)))}; expected \[R, 5\]"):
        kernels.multilevel_roi_align([torch.zeros(2, 8, 20, 24)], torch.zeros(shape), 7, 0, 56)
    assert not recorded


def rois_of(count: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centres, half = torch.rand(count, 2, generator=generator) * 400, torch.rand(count, 2, generator=generator) * 90
    return torch.cat([torch.zeros(count, 1), centres - half, centres + half], dim=1).to(device)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_roi_align_on_the_device(cuda_kernels: None, dtype: torch.dtype, layout: torch.memory_format) -> None:
    maps = [torch.randn(1, 64, 128 >> i, 128 >> i, device="cuda").to(dtype, memory_format=layout) for i in range(4)]
    rois = rois_of(200, "cuda")
    found = multilevel_roi_align(maps, rois, 7, 0, 56)
    expected = multilevel_roi_align([feature.double().cpu() for feature in maps], rois.cpu(), 7, 0, 56)
    tolerance = TOLERANCES[f"roi_align {str(dtype).removeprefix('torch.')}"]
    torch.testing.assert_close(found.double().cpu(), expected, atol=tolerance.absolute, rtol=tolerance.relative)
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.gpu
def test_double_maps_go_to_the_eager_operator(cuda_kernels: None) -> None:
    maps = [torch.randn(1, 8, 32, 32, device="cuda", dtype=torch.float64)]
    found = multilevel_roi_align(maps, rois_of(5, "cuda"), 7, 0, 56)
    expected = multilevel_roi_align([maps[0].cpu()], rois_of(5, "cpu"), 7, 0, 56)
    tolerance = TOLERANCES["roi_align float32"]
    torch.testing.assert_close(found.cpu(), expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.gpu
@pytest.mark.parametrize(("count", "k"), [(202_600, 1000), (80_000, 3840), (5000, 1000), (1, 1), (9000, 5000)])
def test_top_k_on_the_device(cuda_kernels: None, count: int, k: int) -> None:
    scores = torch.rand(2, count).half().float()
    scores[:, ::7], scores[:, ::97] = -1, float("nan")
    for found, expected in zip(top_k(scores.cuda(), k), top_k(scores, k), strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", [[202_600, 51_400, 13_600, 4150, 1819], [4150, 1819], [2000] * 9], ids=str)
def test_top_k_of_segments_on_the_device(cuda_kernels: None, lengths: list[int]) -> None:
    scores = torch.rand(2, sum(lengths)).half().float()
    scores[:, ::7], scores[:, ::97] = -1, float("nan")
    found, expected = top_k_segments(scores.cuda(), lengths, 1000), top_k_segments(scores, lengths, 1000)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.gpu
@pytest.mark.parametrize("count", [1000, 3840, 5000])
def test_nms_on_the_device(cuda_kernels: None, count: int) -> None:
    boxes, scores = rois_of(2 * count, "cpu")[:, 1:].reshape(2, count, 4), torch.rand(2, count)
    found = fixed_nms(boxes.cuda(), scores.cuda(), 0.7, 1000)
    expected = fixed_nms(boxes, scores, 0.7, 1000)
    assert torch.equal(found[0].cpu(), expected[0])
    assert torch.equal(found[1].cpu(), expected[1])


@pytest.mark.gpu
def test_the_operators_can_be_captured_in_a_graph(cuda_kernels: None) -> None:
    """So nothing in them waits for the device."""
    coarse, fine = torch.randn(4, 1, 28, 28, device="cuda"), torch.randn(4, 1, 56, 56, device="cuda")
    boxes, scores = rois_of(1000, "cuda")[None, :, 1:].contiguous(), torch.rand(1, 1000, device="cuda")
    expected = boundary_merge(coarse, fine), *fixed_nms(boxes, scores, 0.5, 100)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = boundary_merge(coarse, fine), *fixed_nms(boxes, scores, 0.5, 100)
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
