"""The top-k kernels, run on the CPU, against a sort by value and index."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from refinemask.ops import top_k, top_k_segments
from trt_plugins.c_api import KernelError, Kernels
from trt_plugins.torch_kernels import TorchKernels

NAN, INF = float("nan"), float("inf")
CHUNK, RANKED = 2048, 5120
"""Values of a segment that a block reads, and of the longest that one kernel takes."""
LEVELS = 202_600, 51_400, 13_600, 4150, 1819
"""Anchors of the levels of 800 × 1344, and a thousand more each."""
LONG = 6000
"""Values of a row that is too long for one kernel, of three chunks."""


KINDS = "normal", "ties", "equal", "padding", "special", "ascending"


def expected_indices(scores: Tensor, k: int) -> np.ndarray:
    """[G, k] by definition: NaN first, then by descending value in float64, then by index."""
    values = scores.double().numpy()
    index = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.lexsort((index, -np.nan_to_num(values, nan=0, posinf=INF, neginf=-INF), ~np.isnan(values)))[:, :k]


def assert_exact(kernels: Kernels, scores: Tensor, k: int) -> None:
    expected = torch.from_numpy(expected_indices(scores, k))
    for values, indices in (TorchKernels(kernels).top_k(scores, k), top_k(scores, k)):
        assert torch.equal(indices, expected)
        assert torch.equal(values.view(torch.int32), scores.gather(1, expected).view(torch.int32))


def assert_exact_segments(kernels: Kernels, scores: Tensor, lengths: Sequence[int], k: int) -> None:
    parts = scores.split(list(lengths), dim=1)
    expected = torch.stack([torch.from_numpy(expected_indices(part, k)) for part in parts])
    chosen = torch.stack([part.gather(1, indices) for part, indices in zip(parts, expected, strict=True)])
    for values, indices in (
        TorchKernels(kernels).top_k_segments(scores, lengths, k),
        top_k_segments(scores, lengths, k),
    ):
        assert torch.equal(indices, expected)
        assert torch.equal(values.view(torch.int32), chosen.view(torch.int32))


def drawn(kind: str, groups: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    scores = torch.randn(groups, count, generator=generator)
    match kind:
        case "ties":
            return (scores / 8).sigmoid().half().float()
        case "equal":
            return torch.full_like(scores, 0.5)
        case "padding":
            return torch.where(torch.rand(groups, count, generator=generator) < 0.05, scores.sigmoid(), -1.0)
        case "special":
            odd = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1e-45, -1e-45, 3.4028234663852886e38, -NAN])
            return odd[torch.randint(len(odd), scores.shape, generator=generator)]
        case "ascending":
            return scores.sort(dim=1).values
    return scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("groups", "count", "k"),
    [(3, 300, 20), (2, LONG, 1000), (2, LONG + 1, 4096), (1, 5120, 5), (1, 5121, 5), (9, 5500, 1)],
)
def test_equals_a_sort_by_value_and_index(host_kernels: Kernels, kind: str, groups: int, count: int, k: int) -> None:
    assert_exact(host_kernels, drawn(kind, groups, count), k)


@pytest.mark.parametrize("lengths", [[300, 77], [LONG, 33]], ids=str)
def test_indices_of_32_bits_are_the_same(host_kernels: Kernels, lengths: Sequence[int]) -> None:
    scores = drawn("special", 2, sum(lengths))
    wide = TorchKernels(host_kernels).top_k_segments(scores, lengths, 30)
    narrow = TorchKernels(host_kernels).top_k_segments(scores, lengths, 30, torch.int32)
    assert narrow[1].dtype == torch.int32
    assert torch.equal(narrow[1].long(), wide[1])
    assert torch.equal(narrow[0].view(torch.int32), wide[0].view(torch.int32))


@pytest.mark.parametrize(("count", "k"), [*((count, 1000) for count in LEVELS), (5000, 1000)])
def test_the_sizes_of_the_proposals(host_kernels: Kernels, count: int, k: int) -> None:
    scores = drawn("ties", 1, count)
    scores[:, -k:] = -1
    assert_exact(host_kernels, scores, k)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("lengths", "k"),
    [
        ([300, 20, 77], 20),
        ([RANKED, 4096, 4097], 4096),
        ([CHUNK, CHUNK + 1, RANKED + 1, CHUNK - 1, 2 * CHUNK], CHUNK - 1),
        ([33, LONG, 31, 2 * CHUNK, 32, 3 * CHUNK + 1, CHUNK, 64], 31),
        ([LONG], 1000),
        ([1, LONG], 1),
    ],
)
def test_each_segment_is_a_row_of_its_own(host_kernels: Kernels, kind: str, lengths: Sequence[int], k: int) -> None:
    for groups in (1, 2):
        assert_exact_segments(host_kernels, drawn(kind, groups, sum(lengths)), lengths, k)


def test_the_levels_of_the_proposals_at_once(host_kernels: Kernels) -> None:
    scores = drawn("ties", 2, sum(LEVELS))
    for level in scores.split(LEVELS, dim=1):
        level[:, -1000:] = -1
    assert_exact_segments(host_kernels, scores, LEVELS, 1000)


def test_the_size_of_the_detections(host_kernels: Kernels) -> None:
    assert_exact(host_kernels, drawn("padding", 1, 80_000), 3840)


@pytest.mark.parametrize("count", [1, 2, 31, 33, 2048, 4096])
@pytest.mark.parametrize("more", [0, 1])
def test_all_or_all_but_one(host_kernels: Kernels, count: int, more: int) -> None:
    assert_exact(host_kernels, drawn("ties", 2, count + more), count)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["ties", "padding", "special"])
def test_thread_order_does_not_matter(
    host_kernels: Kernels, schedule: Callable[[int, int, int], None], kind: str, seed: int
) -> None:
    schedule(seed, 4, 100)
    assert_exact(host_kernels, drawn(kind, 2, LONG), 900)
    assert_exact(host_kernels, drawn(kind, 2, 200), 90)
    lengths = [900, LONG, CHUNK + 3]
    assert_exact_segments(host_kernels, drawn(kind, 2, sum(lengths)), lengths, 900)


@given(
    values=st.lists(st.floats(width=32) | st.sampled_from([0.0, -0.0, 0.5, -1.0]), min_size=1, max_size=40),
    k=st.integers(1, 4096),
    long=st.booleans(),
)
@example(values=[NAN, -0.0, 0.0, -INF], k=1600, long=True)
@settings(max_examples=30, deadline=None)
def test_any_values(host_library: str, values: list[float], k: int, long: bool) -> None:
    scores = torch.tensor(values).repeat(1, -(-LONG // len(values)) if long else 1)
    assert_exact(Kernels(host_library), scores, min(k, scores.shape[1]))


@given(
    lengths=st.lists(st.sampled_from([CHUNK, RANKED]) | st.integers(1, LONG), min_size=1, max_size=8),
    more=st.integers(-1, 1),
    groups=st.integers(1, 2),
    kind=st.sampled_from(KINDS),
    all_of_one=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_any_segments(
    host_library: str, lengths: list[int], more: int, groups: int, kind: str, all_of_one: bool
) -> None:
    lengths = [max(length + more, 1) for length in lengths]
    k = min(min(lengths) if all_of_one else -(-min(lengths) // 3), 4096)
    assert_exact_segments(Kernels(host_library), drawn(kind, groups, sum(lengths)), lengths, k)


def test_nothing_is_wanted(host_kernels: Kernels) -> None:
    for groups, count, k in ((0, LONG, 10), (2, LONG, 0), (2, 0, 0)):
        values, indices = TorchKernels(host_kernels).top_k(torch.zeros(groups, count), k)
        assert values.shape == indices.shape == (groups, k)
    values, indices = TorchKernels(host_kernels).top_k_segments(torch.zeros(2, 3), [3, 0], 0)
    assert values.shape == indices.shape == (2, 2, 0)


@pytest.mark.parametrize(("count", "k"), [(5000, 4097), (10, 11)])
def test_more_than_there_is_room_for(host_kernels: Kernels, count: int, k: int) -> None:
    with pytest.raises(KernelError, match=rf"num_values={count}, lengths=\[{count}, .*, k={k}"):
        TorchKernels(host_kernels).top_k(torch.zeros(1, count), k)


def test_a_segment_that_is_too_short(host_kernels: Kernels) -> None:
    with pytest.raises(KernelError, match=r"lengths=\[20, 9, .*k=10"):
        TorchKernels(host_kernels).top_k_segments(torch.zeros(1, 29), [20, 9], 10)


def test_more_scores_than_a_number_counts(host_kernels: Kernels) -> None:
    with pytest.raises(KernelError, match=r"num_values=0, lengths=\[1073741824, "):
        host_kernels.top_k_segments(0, 0, 0, 0, groups=0, lengths=[1 << 30] * 4, k=0)


@pytest.mark.parametrize("lengths", [[20], [20, 9, 1], []], ids=str)
def test_segments_that_are_not_a_row(host_kernels: Kernels, lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="are not a row of 29 scores"):
        TorchKernels(host_kernels).top_k_segments(torch.zeros(1, 29), lengths, 5)
