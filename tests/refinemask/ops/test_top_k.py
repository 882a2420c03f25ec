import pytest
import torch

from refinemask.ops import best, top_k, top_k_segments, top_scores
from refinemask.ops.fused import fused_operators


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    nan, inf = float("nan"), float("inf")
    scores = torch.tensor([[0.5, -1, 0.5, nan, -0.0, 0, inf, nan], [-1, -1, -1, -1, -1, -1, 2, -1]])
    values, indices = top_k(scores, 7)
    assert indices.tolist() == [[3, 7, 6, 0, 2, 4, 5], [6, 0, 1, 2, 3, 4, 5]]
    torch.testing.assert_close(values, scores.gather(1, indices), rtol=0, atol=0, equal_nan=True)


def test_the_segments_of_a_row_are_rows() -> None:
    scores = torch.tensor([[0.5, -1, 0.5, 3, 7, 7, 9], [2, 1, 0, 1, 1, 1, 1]])
    values, indices = top_k_segments(scores, [3, 4], 2)
    assert indices.tolist() == [[[0, 2], [0, 1]], [[3, 1], [0, 1]]]
    assert values.tolist() == [[[0.5, 0.5], [2, 1]], [[9, 7], [1, 1]]]


def test_the_operator_is_what_it_says() -> None:
    for k in (0, 3, 9):
        torch.library.opcheck(top_k, (torch.rand(2, 9), k), test_utils=("test_schema", "test_faketensor"))
    for k in (0, 2, 3):
        arguments = torch.rand(2, 9), [3, 6], k
        torch.library.opcheck(top_k_segments, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_order_is_that_of_a_stable_sort(dtype: torch.dtype) -> None:
    """On scores full of ties, of both signs, with every kind of zero, infinity and NaN, and on subnormal numbers."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(-30, 30, (3, 5000), generator=generator).to(dtype) / 8
    nan = torch.tensor([0x7FC00000, -0x400000, 0x7F800001], dtype=torch.int32).view(torch.float32)
    odd = torch.tensor([torch.inf, -torch.inf, 0.0, -0.0, 1e-44, -1e-44, 1e-7, *nan.tolist()]).to(dtype)
    scores[1] = odd[torch.randint(0, len(odd), (5000,), generator=generator)]
    scores[2] = -torch.inf
    for k in (0, 1, 40, 3000, 5000):
        values, indices = top_k(scores, k)
        expected = scores.sort(dim=1, descending=True, stable=True)
        assert torch.equal(indices, expected.indices[:, :k])
        torch.testing.assert_close(values, expected.values[:, :k], rtol=0, atol=0, equal_nan=True)
        assert values.dtype == dtype


def test_an_exported_files_operator_gives_the_same_with_small_indices() -> None:
    scores = torch.rand(2, 9)
    with fused_operators():
        chosen = best(scores, 3)
    for values, indices in (chosen, best(scores, 3)):
        torch.testing.assert_close((values, indices), top_k(scores, 3), rtol=0, atol=0)
    assert top_scores(scores, 3)[1].dtype == torch.int32
    torch.library.opcheck(top_scores, (scores, 3), test_utils=("test_schema", "test_faketensor"))
