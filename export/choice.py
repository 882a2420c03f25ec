"""Whether a choice among scored boxes is the one that non-maximum suppression makes.

A greedy suppression is known by its result: no chosen box suppresses another, and whatever was left out is suppressed
by a better chosen one, or comes after all of them. So a choice is judged by itself, and not by its likeness to another
choice, which one rounding may turn into quite different boxes. All comparisons leave room for a rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BOX_ROUNDING = 5e-3
"""Pixels: float32 of boxes that are moved by up to 48,000 px to keep the classes apart is 4e-3 coarse."""
SCORE_ROUNDING = 2e-6
"""Sigmoid and softmax in float32 of two libraries."""


@dataclass(frozen=True)
class Boxes:
    """Scored boxes of one image."""

    boxes: Tensor
    """[N, 4] float32."""
    scores: Tensor
    """[N] float32."""
    groups: Tensor | None
    """[N] boxes of different groups do not suppress each other; None where it is not known."""


@dataclass(frozen=True)
class Candidates(Boxes):
    """All boxes that there are to choose from, each with its group."""

    limits: Tensor
    """[N] score of the last candidate that enters the suppression, of its group or of all."""
    beyond: Tensor
    """[N] score of the first candidate that does not; −1 if all enter."""


def limited(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``limits`` and ``beyond`` [N] of candidates [N] of which the best ``count`` enter the suppression."""
    best = torch.nn.functional.pad(scores, (0, count + 1), value=-1.0).topk(count + 1).values
    return best[count - 1].expand_as(scores), best[count].expand_as(scores)


def faults(candidates: Candidates, chosen: Boxes, iou_threshold: float, count: int) -> Iterator[tuple[int, str]]:
    """What is wrong with a choice of at most ``count`` boxes: numbers of boxes, and what they did; nothing if right."""
    scores = chosen.scores
    yield int((scores[1:] > scores[:-1] + SCORE_ROUNDING).sum()), "stand before better ones"
    allowed = candidates.scores >= candidates.limits - SCORE_ROUNDING
    places = _places(candidates, chosen, allowed)
    yield int((places < 0).sum()), "are none of the candidates"
    taken = torch.zeros_like(allowed)
    taken[places[places >= 0]] = True
    worst = scores.min() if len(scores) == count else scores.new_tensor(-1.0)
    owed = (candidates.scores > candidates.beyond + SCORE_ROUNDING) & (candidates.scores > worst + SCORE_ROUNDING)
    suppressing, missing = 0, 0
    assert candidates.groups is not None
    for group in candidates.groups[owed | taken].unique():
        here = candidates.groups == group
        mine, others = (_of(candidates, here & chosen) for chosen in (taken, owed & ~taken))
        low, _ = iou_bounds(mine.boxes, mine.boxes)
        suppressing += int((low.fill_diagonal_(0) > iou_threshold).any(1).sum())
        _, high = iou_bounds(others.boxes, mine.boxes)
        better = mine.scores >= others.scores[:, None] - SCORE_ROUNDING
        missing += int((~((high > iou_threshold) & better).any(1)).sum())
    yield suppressing, f"overlap another by more than {iou_threshold:g}"
    yield missing, "are missing"


def iou_bounds(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest IoU [N, M] of boxes whose coordinates are uncertain by a rounding."""
    low, high = torch.maximum(first[:, None, :2], second[:, :2]), torch.minimum(first[:, None, 2:], second[:, 2:])
    sides = [high - low, first[:, None, 2:] - first[:, None, :2], second[:, 2:] - second[:, :2]]
    rooms = 2 * BOX_ROUNDING
    small, large = ([(side + room).clamp(min=0).prod(-1) for side in sides] for room in (-rooms, rooms))
    # The union is the smallest where the boxes are, and overlap the most.
    smallest = small[0] / (large[1] + large[2] - small[0]).clamp(min=1e-9)
    return smallest, large[0] / (small[1] + small[2] - large[0]).clamp(min=1e-9)


def _places(candidates: Candidates, chosen: Boxes, allowed: Tensor) -> Tensor:
    """The candidate [K] that each chosen box is, -1 if none; no candidate is two of them."""
    free, places = allowed.clone(), []
    for index in range(len(chosen.scores)):
        score = (candidates.scores - chosen.scores[index]).abs() / SCORE_ROUNDING
        near = free & (score <= 1)
        if chosen.groups is not None:
            near &= candidates.groups == chosen.groups[index]
        found = near.nonzero()[:, 0]
        box = (candidates.boxes[found] - chosen.boxes[index]).abs().amax(1) / BOX_ROUNDING
        found = found[box <= 1]
        # Boxes of two groups may both be cut to the whole image.
        places.append(int(found[(box[box <= 1] + score[found]).argmin()]) if len(found) else -1)
        if places[-1] >= 0:
            free[places[-1]] = False
    return torch.tensor(places, dtype=torch.int64, device=allowed.device)


def _of(boxes: Boxes, chosen: Tensor) -> Boxes:
    return Boxes(boxes.boxes[chosen], boxes.scores[chosen], None)
