import torch

from refinemask.ops import top_k, top_k_segments


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
