import torch

from refinemask.ops import top_k


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    nan, inf = float("nan"), float("inf")
    scores = torch.tensor([[0.5, -1, 0.5, nan, -0.0, 0, inf, nan], [-1, -1, -1, -1, -1, -1, 2, -1]])
    values, indices = top_k(scores, 7)
    assert indices.tolist() == [[3, 7, 6, 0, 2, 4, 5], [6, 0, 1, 2, 3, 4, 5]]
    torch.testing.assert_close(values, scores.gather(1, indices), rtol=0, atol=0, equal_nan=True)


def test_the_operator_is_what_it_says() -> None:
    for k in (0, 3, 9):
        torch.library.opcheck(top_k, (torch.rand(2, 9), k), test_utils=("test_schema", "test_faketensor"))
