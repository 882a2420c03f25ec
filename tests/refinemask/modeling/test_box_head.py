from typing import Any

import pytest
import torch
from torchvision.ops import batched_nms

from refinemask.config import BoxHeadConfig
from refinemask.modeling.box_coder import clip, decode
from refinemask.modeling.box_head import BoxHead, DetectedBoxes
from refinemask.modeling.rpn import Proposals


def select(
    proposals: list[list[list[float]]],
    class_probabilities: list[list[list[float]]],
    deltas: torch.Tensor | None = None,
    objectness: list[list[float]] | None = None,
    **config: Any,
) -> DetectedBoxes:
    """Run the selection on given proposals and class probabilities (background last)."""
    probabilities = torch.tensor(class_probabilities)
    head = BoxHead(1, probabilities.shape[-1] - 1, BoxHeadConfig(hidden=4, **config))
    boxes = torch.tensor(proposals, dtype=torch.float32)
    scores = torch.ones(boxes.shape[:2]) if objectness is None else torch.tensor(objectness)
    logits = probabilities.clamp(min=1e-30).log().flatten(0, 1)
    deltas = torch.zeros(len(logits), 4 * head.num_classes) if deltas is None else deltas
    return head.select(Proposals(boxes, scores), logits, deltas, torch.tensor([[200, 200]]))


def test_threshold_is_strict_and_labels_start_at_zero() -> None:
    found = select([[[0, 0, 10, 10], [20, 0, 30, 10]]], [[[0.25, 0.5, 0.25], [0.0, 0.25, 0.75]]], score_threshold=0.25)
    assert found.num_detections.tolist() == [1]
    assert found.labels[0, 0] == 1


def test_suppression_is_within_a_class() -> None:
    boxes = [[[0.0, 0, 10, 10], [1.0, 0, 11, 10], [0.0, 0, 10, 10]]]
    found = select(boxes, [[[0.6, 0.0, 0.4], [0.5, 0.0, 0.5], [0.0, 0.7, 0.3]]])
    assert found.num_detections.tolist() == [2]
    assert found.labels[0, :2].tolist() == [1, 0]


def test_one_proposal_may_give_several_classes_each_with_its_own_deltas() -> None:
    deltas = torch.tensor([[1.0, 0, 0, 0, 0, -1.0, 0, 0]])
    found = select([[[20, 20, 30, 30]]], [[[0.5, 0.4, 0.1]]], deltas=deltas)
    # delta_std 0.1: a delta of 1 moves the centre by a tenth of the size.
    torch.testing.assert_close(found.boxes[0, :2], torch.tensor([[21.0, 20, 31, 30], [20, 19, 30, 29]]))


def test_padded_proposals_give_no_detection() -> None:
    found = select([[[0, 0, 10, 10], [0, 0, 0, 0]]], [[[0.3, 0.7], [0.9, 0.1]]], objectness=[[0.8, -1.0]])
    assert found.num_detections.tolist() == [1]
    torch.testing.assert_close(found.scores[0, 0], torch.tensor(0.3))


def test_padding_is_zero() -> None:
    found = select([[[0, 0, 10, 10]]], [[[0.3, 0.2, 0.5]]], detections=5)
    assert found.num_detections.tolist() == [2]
    assert not found.boxes[0, 2:].any()
    assert not found.scores[0, 2:].any()
    assert not found.labels[0, 2:].any()


@pytest.mark.parametrize(("classes", "candidates"), [(3, 3840), (1203, 3840)])
def test_equals_suppression_class_by_class_in_original_pixels(classes: int, candidates: int) -> None:
    """The official NMS runs on boxes divided by the scale factor, class by class."""
    generator = torch.Generator().manual_seed(0)
    count = 300
    corner = torch.rand(1, count, 2, generator=generator) * 150
    boxes = torch.cat([corner, corner + 20 + 30 * torch.rand(1, count, 2, generator=generator)], 2)
    logits = torch.randn(count, classes + 1, generator=generator) * 2
    deltas = torch.randn(count, 4 * classes, generator=generator) * 0.5
    sizes = torch.tensor([[190, 180]])
    config = BoxHeadConfig(hidden=4, score_threshold=0.02, candidates=candidates)
    head = BoxHead(1, classes, config)
    found = head.select(Proposals(boxes, torch.ones(1, count)), logits, deltas, sizes)

    scores = logits.softmax(1)[:, :-1]
    roi, label = torch.nonzero(scores > 0.02, as_tuple=True)
    std = torch.tensor(config.delta_std)
    decoded = decode(deltas.view(count, classes, 4)[roi, label] * std, boxes[0, roi])
    original = clip(decoded[None], sizes)[0] / torch.tensor([1.25, 1.24, 1.25, 1.24])
    kept = torch.cat([_keep(original, scores[roi, label], label == c) for c in label.unique()])
    kept = kept[scores[roi, label][kept].argsort(descending=True)][:100]
    number = int(found.num_detections[0])
    assert number == len(kept)
    assert found.labels[0, :number].tolist() == label[kept].tolist()
    torch.testing.assert_close(found.scores[0, :number], scores[roi, label][kept])


def _keep(boxes: torch.Tensor, scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    index = torch.nonzero(chosen)[:, 0]
    return index[batched_nms(boxes[index], scores[index], torch.zeros(len(index)), 0.5)]
