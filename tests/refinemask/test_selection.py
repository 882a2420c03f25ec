"""A number of detections and a score threshold in place of a model's own: ranges, configurations, and exact cuts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from refinemask.config import BoxHeadConfig, HTCConfig, ModelConfig, RPNConfig
from refinemask.config_json import from_json, to_json
from refinemask.files import UserError
from refinemask.selection import MOST_DETECTIONS, WHOLE, Selection
from refinemask.structures import Detections, ImageDetections

MODEL = ModelConfig(class_names=("a", "b"), category_ids=(1, 2))
SMALL = replace(
    MODEL,
    rpn=RPNConfig(candidates_per_level=300, training_candidates_per_level=300, proposals=500),
    box_head=BoxHeadConfig(candidates=200),
)


@pytest.mark.parametrize("count", [0, -1, 3841, 10**9, 1.5, True, "7", float("nan")])
def test_a_number_of_detections_out_of_range_is_refused(count: Any) -> None:
    with pytest.raises(UserError, match=r"^--detections is .*; expected 1 to 3840$"):
        Selection(detections=count)


@pytest.mark.parametrize("score", [-0.1, 1.01, float("nan"), float("inf"), -float("inf"), True, "0.5"])
def test_a_score_threshold_out_of_range_is_refused(score: Any) -> None:
    with pytest.raises(UserError, match=r"^--score-threshold is .*; expected a number from 0 to 1$"):
        Selection(score_threshold=score)


@pytest.mark.parametrize("model", [MODEL, SMALL, replace(MODEL, mask_head=HTCConfig())])
@pytest.mark.parametrize("count", [1, 99, 100, 101, 500, 501, 1000, 1001, MOST_DETECTIONS])
def test_a_network_has_room_for_so_many_and_trains_as_before(model: ModelConfig, count: int) -> None:
    made = Selection(detections=count, score_threshold=0.01).of_network(model)
    assert (made.box_head.detections, made.box_head.score_threshold) == (count, 0.01)
    assert count <= made.box_head.candidates <= MOST_DETECTIONS
    assert count <= made.rpn.proposals <= MOST_DETECTIONS
    assert made.rpn.candidates_per_level <= MOST_DETECTIONS
    before, after = (config.rpn.training_proposals or config.rpn.proposals for config in (model, made))
    assert before == after
    assert from_json(ModelConfig, to_json(made)) == made
    if count <= model.rpn.proposals:
        assert made.rpn == model.rpn, "more proposals would change the detections that were there"


def test_nothing_asked_changes_nothing() -> None:
    assert WHOLE.of_network(SMALL) == SMALL
    assert WHOLE.of_results(SMALL, "a.onnx") == SMALL
    assert WHOLE.source() == {}
    assert Selection(detections=100, score_threshold=0.05).beyond(MODEL) == WHOLE


def test_fixed_results_are_narrowed_and_the_configuration_says_so() -> None:
    made = Selection(detections=7, score_threshold=0.5).of_results(MODEL, "a.onnx")
    assert made == replace(MODEL, box_head=replace(MODEL.box_head, detections=7, score_threshold=0.5))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"detections": 101}, "gives at most 100 detections, and --detections is 101; .* --detections 101"),
        ({"score_threshold": 0.049}, r"gives scores above 0\.05, and --score-threshold is 0\.049; .*threshold 0\.049"),
    ],
)
def test_more_than_a_fixed_network_gives_is_refused(asked: dict[str, Any], message: str) -> None:
    expected = rf"^a\.onnx: its network {message}$"
    with pytest.raises(UserError, match=expected) as error:
        Selection(**asked).of_results(MODEL, "a.onnx")
    assert "python -m export.to_onnx CHECKPOINT" in str(error.value)


def test_kept_predictions_name_what_was_asked() -> None:
    asked = Selection(detections=7, score_threshold=0.5)
    assert asked.source() == {"number of detections": "7", "score threshold": "0.5"}


def batch() -> Detections:
    """Two images with six places, of which five and two are real."""
    random = np.random.default_rng(2)
    scores = np.array([[0.9, 0.8, 0.5, 0.5, 0.1, 0], [0.6, 0.05, 0, 0, 0, 0]], np.float32)
    real = scores > 0
    return Detections(
        (random.random((2, 6, 4)) * real[..., None]).astype(np.float32),
        scores,
        np.where(real, 1, 0),
        real.sum(1),
        random.random((2, 6, 2, 2)).astype(np.float32),
    )


@pytest.mark.parametrize("count", [None, 1, 2, 4, 6, 9])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.05, 0.5, 0.7, 1.0])
def test_cutting_keeps_the_best_of_those_above_the_threshold(count: int | None, threshold: float | None) -> None:
    found = batch()
    asked = Selection(detections=count, score_threshold=threshold)
    cut = asked.cut(found)
    assert cut.scores.shape[1] == min(count or 6, 6)
    for image, number in enumerate(cut.num_detections.tolist()):
        real = int(found.num_detections[image])
        above = [s for s in found.scores[image, :real] if threshold is None or s > np.float32(threshold)]
        assert cut.scores[image, :number].tolist() == above[: count or 6]
        assert not cut.scores[image, number:].any()
        assert not cut.boxes[image, number:].any()
        assert not cut.labels[image, number:].any()
        np.testing.assert_array_equal(cut.masks[image, :number], found.masks[image, :number])
        rles: list[Any] = [{"counts": str(place).encode(), "size": [1, 1]} for place in range(real)]
        one = ImageDetections(found.boxes[image, :real], found.scores[image, :real], found.labels[image, :real], rles)
        alone = asked.cut_image(one)
        np.testing.assert_array_equal(alone.boxes, cut.boxes[image, :number])
        assert [len(values) for values in alone] == [number] * 4
        assert alone.rles == rles[:number]
    for ours, theirs in zip(cut, found, strict=True):
        assert ours.dtype == theirs.dtype
