"""The top-k kernels, run on the CPU, against a sort by value and index."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from refinemask.ops import top_k
from trt_plugins.c_api import KernelError, Kernels
from trt_plugins.torch_ops import TorchKernels

NAN, INF = float("nan"), float("inf")
LONG = 6000
"""Values of a row that is too long for one kernel, of three chunks."""


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


@pytest.mark.parametrize("kind", ["normal", "ties", "equal", "padding", "special", "ascending"])
@pytest.mark.parametrize(
    ("groups", "count", "k"),
    [(3, 300, 20), (2, LONG, 1000), (2, LONG + 1, 4096), (1, 5120, 5), (1, 5121, 5), (9, 5500, 1)],
)
def test_equals_a_sort_by_value_and_index(host_kernels: Kernels, kind: str, groups: int, count: int, k: int) -> None:
    assert_exact(host_kernels, drawn(kind, groups, count), k)


@pytest.mark.parametrize(
    ("count", "k"), [(202_600, 1000), (51_400, 1000), (13_600, 1000), (4150, 1000), (1819, 1000), (5000, 1000)]
)
def test_the_sizes_of_the_proposals(host_kernels: Kernels, count: int, k: int) -> None:
    scores = drawn("ties", 1, count)
    scores[:, -k:] = -1
    assert_exact(host_kernels, scores, k)


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


def test_nothing_is_wanted(host_kernels: Kernels) -> None:
    for groups, count, k in ((0, LONG, 10), (2, LONG, 0), (2, 0, 0)):
        values, indices = TorchKernels(host_kernels).top_k(torch.zeros(groups, count), k)
        assert values.shape == indices.shape == (groups, k)


@pytest.mark.parametrize(("count", "k"), [(5000, 4097), (10, 11)])
def test_more_than_there_is_room_for(host_kernels: Kernels, count: int, k: int) -> None:
    with pytest.raises(KernelError, match=f"num_values={count}, k={k}"):
        TorchKernels(host_kernels).top_k(torch.zeros(1, count), k)
