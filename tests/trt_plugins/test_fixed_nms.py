"""The NMS kernels, run on the CPU, against the eager operator."""

import ctypes
import os
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from refinemask.ops import fixed_nms
from trt_plugins.c_api import KernelError, Kernels
from trt_plugins.torch_kernels import TorchKernels


def clustered(groups: int, count: int, ordered: bool = False, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes that overlap much, scores with ties and a tenth of padding."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(groups, count, 2, generator=generator) * 100
    half = torch.rand(groups, count, 2, generator=generator) * 15
    scores = (torch.rand(groups, count, generator=generator) * 200).round() / 200
    scores[torch.rand(groups, count, generator=generator) < 0.1] = -1
    if ordered:
        scores = scores.sort(descending=True, stable=True).values
    return torch.cat([centres - half, centres + half], dim=2), scores


def assert_equals_eager(kernels: Kernels, boxes: Tensor, scores: Tensor, threshold: float, k: int) -> None:
    found = TorchKernels(kernels).fixed_nms(boxes, scores, threshold, k)
    expected = fixed_nms(boxes, scores, threshold, k)
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("groups", "count", "k"),
    [(2, 1000, 1000), (1, 3840, 100), (1, 1500, 2000), (3, 65, 10), (2, 1, 3), (1, 64, 64), (1, 33, 5)],
)
def test_equals_the_eager_operator(host_kernels: Kernels, groups: int, count: int, k: int, ordered: bool) -> None:
    assert_equals_eager(host_kernels, *clustered(groups, count, ordered), 0.5, k)


@pytest.mark.parametrize("seed", [3, 4])
def test_thread_order_does_not_matter(
    host_kernels: Kernels, schedule: Callable[[int, int, int], None], seed: int
) -> None:
    schedule(seed, 4, 100)
    assert_equals_eager(host_kernels, *clustered(2, 300), 0.5, 300)


def test_a_chain_that_settles_box_by_box(host_kernels: Kernels) -> None:
    """Each box overlaps the next: every second one is kept, and the fixpoint takes as many rounds as boxes."""
    left = torch.arange(200.0)[None, :, None] * 5
    boxes = torch.cat([left, left * 0, left + 10, left * 0 + 10], dim=2)
    scores = torch.linspace(1, 0.5, 200)[None]
    found, count = TorchKernels(host_kernels).fixed_nms(boxes, scores, 0.3, 200)
    assert count.tolist() == [100]
    assert found[0, :100].tolist() == list(range(0, 200, 2))


coordinate = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.integers(0, 6).map(float)
row = st.tuples(coordinate, coordinate, coordinate, coordinate, coordinate)


@given(rows=st.lists(row, max_size=90), k=st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_any_boxes_and_scores_keep_the_rules(host_library: str, rows: list[tuple[float, ...]], k: int) -> None:
    data = torch.tensor(rows, dtype=torch.float32).reshape(1, -1, 5)
    boxes, scores = data[..., :4].contiguous(), data[..., 4].contiguous()
    indices, count = TorchKernels(Kernels(host_library)).fixed_nms(boxes, scores, 0.5, k)
    kept = indices[0, : count[0]].tolist()
    assert (indices[0, count[0] :] == 0).all()
    assert len(set(kept)) == len(kept)
    assert all(scores[0, i] >= 0 for i in kept)
    order = [(-scores[0, i].item(), i) for i in kept]
    assert order == sorted(order)


@given(rows=st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 5), min_size=1, max_size=90))
@settings(max_examples=60, deadline=None)
def test_small_integer_boxes_with_many_ties(host_library: str, rows: list[tuple[float, ...]]) -> None:
    data = torch.tensor(rows)[None]
    assert_equals_eager(Kernels(host_library), data[..., :4].contiguous(), data[..., 4].contiguous(), 0.5, 20)


def test_empty_groups(host_kernels: Kernels) -> None:
    indices, count = TorchKernels(host_kernels).fixed_nms(torch.zeros(2, 0, 4), torch.zeros(2, 0), 0.5, 3)
    assert indices.tolist() == [[0, 0, 0]] * 2
    assert count.tolist() == [0, 0]
    boxes, scores = clustered(1, 70)
    indices, count = TorchKernels(host_kernels).fixed_nms(boxes, torch.full_like(scores, -1), 0.5, 3)
    assert (indices.tolist(), count.tolist()) == ([[0, 0, 0]], [0])


def test_more_boxes_than_there_is_room_for(host_kernels: Kernels) -> None:
    with pytest.raises(KernelError, match="num_boxes=4097"):
        TorchKernels(host_kernels).fixed_nms(torch.zeros(1, 4097, 4), torch.zeros(1, 4097), 0.5, 10)


def test_scores_sort_by_value_then_index(host_library: str) -> None:
    library = ctypes.CDLL(os.fspath(host_library))
    library.host_sort_key.argtypes, library.host_sort_key.restype = [ctypes.c_float, ctypes.c_int], ctypes.c_uint64
    best_first = [(float("inf"), 5), (0.9, 1), (0.9, 2), (1e-40, 0), (0.0, 3), (-0.0, 4)]
    keys = [library.host_sort_key(*item) for item in best_first]
    assert keys == sorted(keys)
    assert all(library.host_sort_key(score, 0) == 2**64 - 1 for score in (-1.0, float("nan"), -1e-45))
