"""The problems that kernels are checked and timed on are those that their names say."""

import torch

from benchmarks.gpu_suite.cases import NMS_CASES, draw_boxes, roi_align_bytes
from refinemask.ops import fixed_nms


def test_counted_bytes_of_a_box_that_covers_the_map() -> None:
    feature = torch.zeros(1, 8, 50, 60, dtype=torch.float16)
    whole = torch.tensor([[0.0, 0, 0, 240, 200]]).repeat(3, 1)
    assert roi_align_bytes([feature], whole, 7) == 8 * (50 * 60 + 3 * 49) * 2 + 3 * 5 * 4


def test_drawn_boxes_are_inside_and_as_large_as_said() -> None:
    boxes = draw_boxes(2000, (800, 1344), "coco", seed=0)
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 1344).all()
    assert (boxes[:, 3] <= 800).all()
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt() / (800 * 1344) ** 0.5
    assert 0.08 < sides.median() < 0.12


def test_large_boxes_have_nothing_in_common() -> None:
    full, large = (draw_boxes(100, (800, 1344), kind, seed=0) for kind in ("full", "large"))
    assert (full == torch.tensor([0, 0, 1344, 800])).all()
    assert all(len(large[:, side].unique()) == 100 for side in range(4))
    assert (large[:, 2:] - large[:, :2] >= 0.8 * torch.tensor([1344, 800])).all()


def test_the_detector_s_nms_keeps_enough_to_be_hard() -> None:
    boxes, scores = NMS_CASES[1].random_boxes("cpu", seed=0)
    _, count = fixed_nms(boxes, scores, 0.5, 3840)
    assert 200 < int(count) < 3000
