"""The semantic branch near the RoIs gives the masks of the whole one."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from refinemask.config import RefineMaskConfig
from refinemask.modeling.refine_mask_head import RefineMaskHead, merge_stages
from refinemask.modeling.roi_window import compute_near_rois
from refinemask.modeling.simple_refine_mask_head import SimpleRefineMaskHead
from tests.support.tolerances import TOLERANCES

HEIGHT, WIDTH = 40, 48
ROIS = {
    "inside": [[0, 61.3, 57, 99.9, 90], [1, 70, 63.9, 84, 71]],
    "rim": [[0, 0, 0, 40, 20], [1, 3, 5, 3, 5]],
    "far rim": [[0, 150, 130, 192, 160]],
    "everywhere": [[0, 0, 0, 20, 20], [1, 150, 130, 192, 160]],
}


@pytest.mark.parametrize("rois", ROIS.values(), ids=ROIS)
@pytest.mark.parametrize("kind", [RefineMaskHead, SimpleRefineMaskHead])
def test_masks_are_those_of_the_whole_map(kind: type, rois: list[list[float]]) -> None:
    torch.manual_seed(0)
    head = kind(32, 3, RefineMaskConfig()).double()
    pyramid = [torch.randn(2, 32, HEIGHT >> i, WIDTH >> i, dtype=torch.float64) for i in range(4)]
    boxes, labels = torch.tensor(rois), torch.arange(len(rois))
    with torch.no_grad():
        whole = merge_stages(head(pyramid, boxes, labels).stage_logits).sigmoid()[:, 0]
        near = head.predict(pyramid, boxes, labels)
    torch.testing.assert_close(near, whole, rtol=0, atol=TOLERANCES["exact in float64"].relative)


@pytest.mark.parametrize(
    ("rois", "window"),
    [
        (ROIS["inside"], (10, 30, 9, 28)),
        ([[0, 0, 0, 1, 1]], (0, 6, 0, 6)),
        ([[0, 191, 159, 192, 160]], (42, 48, 34, 40)),
        ([], (0, 6, 0, 6)),
    ],
)
def test_only_the_window_is_computed(rois: list[list[float]], window: tuple[int, int, int, int]) -> None:
    left, right, top, bottom = window
    seen = []

    def compute(p2: torch.Tensor) -> list[torch.Tensor]:
        seen.append(p2)
        return [p2[:, :1] + 1]

    p2 = torch.arange(2 * HEIGHT * WIDTH).float().reshape(1, 2, HEIGHT, WIDTH)
    (result,) = compute_near_rois(compute, p2, torch.tensor(rois).reshape(-1, 5), reach=4)
    assert torch.equal(seen[0], p2[:, :, top:bottom, left:right])
    expected = torch.zeros(1, 1, HEIGHT, WIDTH)
    expected[:, :, top:bottom, left:right] = p2[:, :1, top:bottom, left:right] + 1
    assert torch.equal(result, expected)


def test_a_prediction_computes_the_semantic_branch_near_its_rois_alone() -> None:
    head = RefineMaskHead(32, 2, RefineMaskConfig()).eval()
    pyramid = [torch.randn(1, 32, 256 >> level, 256 >> level) for level in range(4)]
    arguments = pyramid, torch.tensor([[0.0, 100, 100, 140, 140]]), torch.tensor([1])
    counted = []
    for compute in (head, head.predict):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            compute(*arguments)
        counted.append(counter.get_total_flops())
    assert counted[1] < counted[0] / 4
