"""The choices that non-maximum suppression may make, and those that it never makes."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from export.choice import SCORE_ROUNDING, Boxes, Candidates, faults, iou_bounds, limited
from refinemask.ops import fixed_nms

GROUPS, ENTERING, COUNT, IOU = 3, 60, 40, 0.6


@dataclass(frozen=True)
class Case:
    """Scored boxes of three groups, of each of which the best sixty enter the suppression."""

    boxes: Tensor
    scores: Tensor

    def candidates(self) -> Candidates:
        limits, beyond = zip(*(limited(scores, ENTERING) for scores in self.scores), strict=True)
        groups = torch.arange(GROUPS).repeat_interleave(self.scores.shape[1])
        return Candidates(self.boxes.flatten(0, 1), self.scores.flatten(), groups, torch.cat(limits), torch.cat(beyond))

    def chosen(self, *, entering: int = ENTERING, iou: float = IOU, count: int = COUNT) -> Boxes:
        scores, order = self.scores.topk(entering)
        boxes = self.boxes.gather(1, order[..., None].expand(-1, -1, 4))
        kept, number = fixed_nms(boxes, scores, iou, entering)
        parts = [(boxes[g, kept[g, :n].long()], scores[g, kept[g, :n].long()]) for g, n in enumerate(number)]
        found, best = (torch.cat(each) for each in zip(*parts, strict=True))
        best, order = best.topk(count)
        return Boxes(found[order], best, None)

    def faults(self, chosen: Boxes, iou: float = IOU) -> set[str]:
        return {what.split(" by ")[0] for number, what in faults(self.candidates(), chosen, iou, COUNT) if number}


@pytest.fixture(params=range(3))
def case(request: pytest.FixtureRequest) -> Case:
    generator = torch.Generator().manual_seed(request.param)
    corner, size = (torch.rand(GROUPS, 100, 2, generator=generator) * 50 for _ in range(2))
    return Case(torch.cat([corner, corner + size + 20], 2), torch.rand(GROUPS, 100, generator=generator))


def test_the_choice_of_the_suppression_has_no_fault(case: Case) -> None:
    assert case.faults(case.chosen()) == set()


def test_a_rounding_is_no_fault(case: Case) -> None:
    """Scores that are nearly all ties, rounded otherwise by whoever chooses."""
    tied = Case(case.boxes, (case.scores * 4).round() / 4 + 0.1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(tied.scores.shape, generator=generator) * SCORE_ROUNDING / 2
    rounded = Case(tied.boxes + 1e-3, tied.scores + noise)
    assert not torch.equal(rounded.chosen().boxes - 1e-3, tied.chosen().boxes), "the rounding decides nothing"
    assert tied.faults(rounded.chosen()) == set()


@pytest.mark.parametrize("iou", [IOU - 0.1, IOU + 0.1])
def test_another_threshold(case: Case, iou: float) -> None:
    assert case.faults(case.chosen(iou=iou)) >= {"are missing" if iou < IOU else "overlap another"}


def test_one_candidate_less(case: Case) -> None:
    """All are chosen, so the last that enters is, too, unless it is suppressed."""
    apart = Case(torch.tensor([0.0, 0, 1, 1]) + torch.arange(300).reshape(GROUPS, 100, 1) * 2, case.scores)
    few = apart.chosen(entering=COUNT // GROUPS, count=3 * (COUNT // GROUPS))
    limits, beyond = zip(*(limited(scores, COUNT // GROUPS + 1) for scores in case.scores), strict=True)
    candidates = apart.candidates()
    candidates = Candidates(
        candidates.boxes, candidates.scores, candidates.groups, torch.cat(limits), torch.cat(beyond)
    )
    wrong = {what: number for number, what in faults(candidates, few, IOU, COUNT)}
    assert wrong["are missing"] == GROUPS


def test_one_result_less(case: Case) -> None:
    assert case.faults(case.chosen(count=COUNT - 1)) == {"are missing"}


def test_another_box_and_another_order(case: Case) -> None:
    chosen = case.chosen()
    moved = chosen.boxes.clone()
    moved[3, 0] -= 0.1
    assert "are none of the candidates" in case.faults(Boxes(moved, chosen.scores, None))
    assert "stand before better ones" in case.faults(Boxes(chosen.boxes.flip(0), chosen.scores.flip(0), None))
    twice = torch.cat([chosen.boxes[:1], chosen.boxes[:-1]]), torch.cat([chosen.scores[:1], chosen.scores[:-1]])
    assert "are none of the candidates" in case.faults(Boxes(*twice, None))


def test_bounds_of_iou_are_near_it() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [3, 3, 3, 3]])
    low, high = iou_bounds(boxes, boxes)
    assert low[0, 1] < 1 / 3 < high[0, 1] < low[0, 1] + 0.01
    assert (low[2] == 0).all(), "a box without area suppresses nothing"
