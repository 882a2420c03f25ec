import torch
import torch.nn.functional as F

from refinemask.config import RPNConfig
from refinemask.modeling.anchors import base_anchors, pyramid_anchors
from refinemask.modeling.box_coder import MAX_LOG_SCALE, clip, decode, encode
from refinemask.modeling.rpn import RPN, Proposals, RPNOutput
from refinemask.modeling.select_proposals import select_proposals
from refinemask.ops import fixed_nms
from refinemask.ops.fused import fused_operators
from tests.support.tolerances import assert_near


def test_anchors_are_centred_on_corners_of_cells_and_not_rounded() -> None:
    sizes = [(4, 6), (2, 3), (1, 2), (1, 1), (1, 1)]
    levels = pyramid_anchors(sizes, RPNConfig(), torch.device("cpu"))
    assert [len(level) for level in levels] == [3 * h * w for h, w in sizes]
    # Order row, column, anchor: row 1, column 2 of level P2 (6 columns).
    first, square, _ = levels[0][3 * (1 * 6 + 2) :][:3]
    torch.testing.assert_close(square, torch.tensor([8.0 - 16, 4 - 16, 8 + 16, 4 + 16]))
    width, height = first[2] - first[0], first[3] - first[1]
    torch.testing.assert_close(width, torch.tensor(32 * 2**0.5))
    torch.testing.assert_close(height / width, torch.tensor(0.5))
    for level, side in zip(levels, (32, 64, 128, 256, 512), strict=True):
        areas = (level[:, 2] - level[:, 0]) * (level[:, 3] - level[:, 1])
        torch.testing.assert_close(areas, torch.full_like(areas, side**2))


def test_box_coder_round_trip_and_clamp() -> None:
    torch.manual_seed(0)
    references = torch.rand(50, 4) * 50
    references[:, 2:] += references[:, :2] + 5
    boxes = torch.rand(50, 4) * 50
    boxes[:, 2:] += boxes[:, :2] + 5
    assert_near(decode(encode(boxes, references), references), boxes, "box coder")
    reference = torch.tensor([[0, 0, 10, 10.0]])
    for sign in (1, -1):
        box = decode(torch.tensor([[0, 0, sign * 9.0, 0]]), reference)
        assert_near(box[0, 2] - box[0, 0], 10 * (1000 / 16) ** sign, "box coder")
    assert_near(MAX_LOG_SCALE, 4.135167, "constants")


def test_boxes_are_clipped_to_the_unpadded_image() -> None:
    boxes = torch.tensor([[[-5.0, -5, 500, 500]], [[10, 20, 60, 300]]])
    clipped = clip(boxes, torch.tensor([[90, 120], [200, 50]]))
    assert clipped.tolist() == [[[0, 0, 120, 90]], [[10, 20, 50, 200]]]


def propose(scores: list[list[float]], boxes_per_level: list[list[list[float]]], config: RPNConfig) -> Proposals:
    """Run the selection on given scores (logits) per level with zero deltas and the given boxes as anchors."""
    rpn = RPN(4, config)
    output = RPNOutput(
        [torch.tensor(s).reshape(1, 1, 1, -1) for s in scores],
        [torch.zeros(1, 4, 1, len(s)) for s in scores],
    )
    anchors = [torch.tensor(b, dtype=torch.float32) for b in boxes_per_level]
    return rpn.propose(output, anchors, torch.tensor([[100, 100]]), config.candidates_per_level, config.proposals)


def test_suppression_is_within_a_level_and_the_limit_is_over_all() -> None:
    config = RPNConfig(anchor_ratios=(1.0,), candidates_per_level=4, proposals=3)
    same, other = [0.0, 0, 20, 20], [50.0, 50, 80, 80]
    found = propose([[3.0, 2.0, 1.0], [2.5]], [[same, same, other], [same]], config)
    # The duplicate on the same level goes, the one on the other level stays.
    assert found.boxes[0].tolist() == [same, same, other]
    torch.testing.assert_close(found.scores[0], torch.tensor([3.0, 2.5, 1.0]).sigmoid())


def test_degenerate_proposals_stay_and_missing_ones_are_padding() -> None:
    config = RPNConfig(anchor_ratios=(1.0,), candidates_per_level=4, proposals=3)
    found = propose([[-30.0, 1.0]], [[[5, 5, 5, 5], [0, 0, 9, 9]]], config)
    assert found.boxes[0].tolist() == [[0, 0, 9, 9], [5, 5, 5, 5], [0, 0, 0, 0]]
    assert found.scores[0, 1] >= 0
    assert found.scores[0, 2] == -1


def test_only_the_best_candidates_of_a_level_are_decoded() -> None:
    config = RPNConfig(anchor_ratios=(1.0,), candidates_per_level=1, proposals=2)
    found = propose([[1.0, 3.0], [0.0]], [[[0, 0, 9, 9], [20, 20, 40, 40]], [[60, 60, 90, 90]]], config)
    assert found.boxes[0].tolist() == [[20, 20, 40, 40], [60, 60, 90, 90]]


def test_all_levels_at_once_are_the_levels_one_by_one() -> None:
    """Bit for bit, also where a level has fewer anchors than candidates."""
    config, sizes = RPNConfig(), [(20, 28), (10, 14), (5, 7), (3, 4), (2, 2)]
    generator = torch.Generator().manual_seed(0)
    output = RPNOutput(
        [torch.randn(2, 3, *size, generator=generator) for size in sizes],
        [torch.randn(2, 12, *size, generator=generator) for size in sizes],
    )
    anchors = pyramid_anchors(sizes, config, torch.device("cpu"))
    image_sizes, candidates, count = torch.tensor([[80, 112], [61, 97]]), 150, 200
    found = RPN(4, config).propose(output, anchors, image_sizes, candidates, count)

    levels = []
    for logits, deltas, level in zip(output.logits, output.deltas, anchors, strict=True):
        scores = F.pad(logits.sigmoid().permute(0, 2, 3, 1).flatten(1), (0, candidates), value=-1)
        scores, index = scores.topk(candidates)
        index = index.clamp(max=len(level) - 1)
        chosen = deltas.permute(0, 2, 3, 1).reshape(2, -1, 4).take_along_dim(index[..., None], 1)
        boxes = clip(decode(chosen, level[index]), image_sizes)
        kept, num_kept = fixed_nms(boxes, scores, config.nms_iou, candidates)
        real = torch.arange(candidates) < num_kept[:, None]
        levels.append(
            (boxes.take_along_dim(kept.long()[..., None], 1), scores.take_along_dim(kept.long(), 1).where(real, -1.0))
        )
    boxes, scores = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
    scores, order = scores.topk(count)
    boxes = boxes.take_along_dim(order[..., None], 1) * (scores >= 0)[..., None]
    assert (found.scores >= 0).sum(dim=1).min() > 50
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.scores, scores)


@torch.no_grad()
def test_one_operator_in_an_exported_file_proposes_what_the_chain_does() -> None:
    torch.manual_seed(0)
    rpn = RPN(8, RPNConfig())
    pyramid = [20 * torch.randn(2, 8, *size) for size in ((20, 28), (10, 14), (5, 7), (3, 4), (2, 2))]
    arguments = rpn.anchors(pyramid), torch.tensor([[80, 112], [61, 97]]), 150, 200
    expected = rpn.propose(rpn(pyramid), *arguments)
    with fused_operators():
        output = rpn(pyramid)
        found = rpn.propose(output, *arguments)
    assert output.joint is not None
    assert [x.shape[1] for x in output.joint] == [15] * 5
    assert (expected.scores >= 0).sum(dim=1).min() > 50
    assert_near(found.boxes, expected.boxes, "selected proposals")
    assert_near(found.scores, expected.scores, "exact in float32")


def test_select_proposals_is_what_it_says() -> None:
    maps = [torch.randn(2, 15, *size) for size in ((8, 6), (4, 3), (2, 2), (1, 1), (1, 1))]
    arguments = maps, base_anchors(RPNConfig(), torch.device("cpu")), torch.tensor([[32.0, 24], [30, 20]]), 20
    torch.library.opcheck(select_proposals, arguments, test_utils=("test_schema", "test_faketensor"))


def test_equal_logits_are_taken_in_the_order_of_the_anchors() -> None:
    config = RPNConfig(anchor_ratios=(1.0,), candidates_per_level=2, proposals=2)
    boxes = [[10.0 * i, 0, 10 * i + 8, 9] for i in range(5)]
    # In float32 the sigmoid of the last three is one, and their logits differ.
    found = propose([[1.0, 3.0, 40.0, 41.0, 42.0]], [boxes], config)
    assert found.boxes[0].tolist() == [boxes[4], boxes[3]]
    tied = propose([[1.0, 2.0, 2.0, 1.0, 2.0]], [boxes], config)
    assert tied.boxes[0].tolist() == [boxes[1], boxes[2]]
