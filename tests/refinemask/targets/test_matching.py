"""Assignment and sampling, against the rules written out box by box."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refinemask.targets.matching import IGNORED, NEGATIVE, box_iou, match, sample


def match_box_by_box(iou: torch.Tensor, positive: float, negative: float, low_quality: float) -> list[int]:
    truths, boxes = iou.shape
    matches = [IGNORED] * boxes
    for box in range(boxes):
        column = iou[:, box].tolist()
        if max(column) < negative:
            matches[box] = NEGATIVE
        if max(column) >= positive:
            matches[box] = column.index(max(column))
    for truth in range(truths):
        best = iou[truth].max()
        if best >= low_quality:
            for box in range(boxes):
                if iou[truth, box] == best:
                    matches[box] = truth
    return matches


def test_iou_has_no_plus_one_and_survives_empty_boxes() -> None:
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 6.0, 6.0], [1.0, 1.0, 1.0, 1.0]])
    expected = torch.tensor([[1 / 7, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(box_iou(a, b), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([(0.7, 0.3, 0.3), (0.5, 0.5, 0.5)]))
def test_match_follows_the_rules(seed: int, truths: int, thresholds: tuple[float, float, float]) -> None:
    # Tenths make ties and exact thresholds common.
    iou = torch.randint(0, 11, (truths, 30), generator=torch.Generator().manual_seed(seed)).double() / 10
    assert match(iou, *thresholds).tolist() == match_box_by_box(iou, *thresholds)


def test_later_truths_win_contested_boxes() -> None:
    iou = torch.tensor([[0.4, 0.1], [0.4, 0.2]])
    assert match(iou, 0.7, 0.3, 0.3).tolist() == [1, NEGATIVE]


def test_low_quality_match_overrides_a_better_owner() -> None:
    iou = torch.tensor([[0.9, 0.8], [0.0, 0.6]])
    assert match(iou, 0.7, 0.3, 0.3).tolist() == [0, 1]


def test_without_truth_everything_is_background() -> None:
    assert match(torch.zeros(0, 4), 0.7, 0.3, 0.3).tolist() == [NEGATIVE] * 4


@pytest.mark.parametrize(("positives", "expected"), [(300, (128, 128)), (5, (5, 251)), (0, (0, 256))])
def test_sample_fills_up_with_negatives(positives: int, expected: tuple[int, int]) -> None:
    matches = torch.full((2000,), NEGATIVE)
    matches[:positives] = 7
    matches[1900:] = IGNORED
    chosen = sample(matches, 256, 0.5, torch.Generator().manual_seed(0))
    assert (len(chosen.positive), len(chosen.negative)) == expected
    assert (matches[chosen.positive] == 7).all()
    assert (matches[chosen.negative] == NEGATIVE).all()
    assert len(set(chosen.negative.tolist())) == len(chosen.negative)


def test_sample_is_uniform_and_follows_the_generator() -> None:
    matches = torch.zeros(10, dtype=torch.int64)
    counts = torch.zeros(10)
    for seed in range(600):
        counts[sample(matches, 8, 0.5, torch.Generator().manual_seed(seed)).positive] += 1
    assert counts.sum() == 600 * 4
    assert (counts / 600 - 0.4).abs().max() < 0.08
    first, again = (sample(matches, 8, 0.5, torch.Generator().manual_seed(3)).positive for _ in range(2))
    assert first.equal(again)


@pytest.mark.parametrize(("truths", "boxes"), [(0, 3), (2, 0), (0, 0)])
def test_without_truths_or_boxes_nothing_matches(truths: int, boxes: int) -> None:
    assert match(torch.zeros(truths, boxes), 0.7, 0.3, 0.3).tolist() == [NEGATIVE] * boxes
