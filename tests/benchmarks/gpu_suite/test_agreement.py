"""Detections agree by class and overlap, whatever their order."""

import numpy as np
import pytest

from benchmarks.gpu_suite.agreement import Agreement, agreement
from refinemask.structures import Detections

BOXES = np.array([[[0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 60]]], np.float32)


def detections(boxes: np.ndarray = BOXES, labels: tuple[int, ...] = (0, 1, 1), count: int = 3) -> Detections:
    masks = np.zeros((1, 3, 4, 4), np.float32)
    masks[:, :, :2] = 0.9
    scores = np.array([[0.9, 0.8, 0.7]], np.float32)
    return Detections(boxes, scores, np.array([labels]), np.array([count]), masks)


def test_another_order_is_the_same() -> None:
    swapped = detections(BOXES[:, [0, 2, 1]])
    assert agreement(swapped, detections()) == Agreement(expected=3, found=3, matched=1.0, different_cells=0.0)


@pytest.mark.parametrize(
    "found",
    [detections(BOXES + np.array([2, 0, 2, 0], np.float32) * (BOXES < 15)), detections(labels=(1, 1, 1))],
    ids=["box", "class"],
)
def test_a_moved_box_and_another_class_have_no_partner(found: Detections) -> None:
    result = agreement(found, detections())
    assert (result.expected, result.found) == (3, 3)
    assert result.matched == pytest.approx(2 / 3)


def test_places_of_padding_do_not_count() -> None:
    assert agreement(detections(count=2), detections()).matched == pytest.approx(2 / 3)
    nothing = agreement(detections(count=0), detections(count=0))
    assert nothing == Agreement(expected=0, found=0, matched=1.0, different_cells=None)


def test_cells_of_partners_are_compared() -> None:
    found = detections()
    found.masks[0, 1, 0, 0] = 0.1
    assert agreement(found, detections()).different_cells == pytest.approx(1 / 48)
