from collections.abc import Sequence

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refinemask.ops import fixed_nms

Box = Sequence[float]


def greedy(boxes: Sequence[Box], scores: Sequence[float], threshold: float) -> list[int]:
    """NMS by definition, in float64."""
    order = sorted((i for i in range(len(scores)) if scores[i] >= 0), key=lambda i: (-scores[i], i))
    kept: list[int] = []
    for i in order:
        if all(iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def iou(a: Box, b: Box) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0


# Whole coordinates and eighths keep IoUs away from the threshold's rounding.
box = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(0, 9)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(box, st.sampled_from([-1.0, 0.0, 0.125, 0.5, 0.875, 1.0])), min_size=1, max_size=24))
def test_equals_the_definition(entries: list[tuple[tuple[int, ...], float]]) -> None:
    boxes = torch.tensor([b for b, _ in entries]).float()
    scores = torch.tensor([s for _, s in entries])
    expected = greedy([tuple(map(float, b)) for b, _ in entries], scores.tolist(), 0.4321)
    indices, num = fixed_nms(boxes[None], scores[None], 0.4321, 24)
    assert indices[0, : int(num)].tolist() == expected
    assert not indices[0, int(num) :].any()


def test_groups_are_independent_and_cut_at_k() -> None:
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10]]] * 2).float()
    scores = torch.tensor([[0.5, 0.6, 0.4], [0.5, -1, 0.9]])
    indices, num = fixed_nms(boxes, scores, 0.5, 2)
    assert indices.tolist() == [[1, 2], [2, 0]]
    assert num.tolist() == [2, 2]
    assert fixed_nms(boxes, scores, 0.5, 1)[0].tolist() == [[1], [2]]


def test_only_padding() -> None:
    indices, num = fixed_nms(torch.zeros(1, 3, 4), torch.full((1, 3), -1.0), 0.5, 2)
    assert indices.tolist() == [[0, 0]]
    assert num.tolist() == [0]
    nan = fixed_nms(torch.zeros(1, 1, 4), torch.full((1, 1), float("nan")), 0.5, 1)
    assert nan[1].tolist() == [0]
