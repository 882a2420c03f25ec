"""Weights for other classes: every family's class-dependent layers, row by row, and what is drawn anew."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from benchmarks.harness.random_detector import randomize
from refinemask.config import HTCConfig, MaskHeadConfig, ModelConfig, RefineMaskConfig
from refinemask.files import UserError
from refinemask.modeling.box_head import BoxHead, DetectedBoxes
from refinemask.modeling.cascade import CascadeBoxHead
from refinemask.modeling.detector import Detector
from refinemask.modeling.point_head import PointRendHead
from refinemask.modeling.rpn import Proposals
from refinemask.training.transfer import class_axes, learnt_with, recorded, shared_classes, transfer, with_settings
from tests.support.tiny_detector import TINY
from tests.support.tiny_families import MASK_HEADS

EIGHTY = tuple(f"thing {number}" for number in range(78))
EIGHTY = (*EIGHTY[:5], "person", *EIGHTY[5:40], "car", *EIGHTY[40:])
"""Names of eighty classes, as many as COCO has."""
THREE = ("Car ", "nucleus", "person")
"""Three classes, of which two are among the eighty."""
PAIRS = ((0, 41), (2, 5))
"""Labels of the same class among the three and the eighty."""
HEADS: dict[str, MaskHeadConfig] = {
    **MASK_HEADS,
    "RefineMask, last stage for all classes": RefineMaskConfig(
        instance_convs=1, semantic_convs=1, class_agnostic_last=True
    ),
}
BACKGROUND = -1


def config(names: tuple[str, ...], head: str) -> ModelConfig:
    box_head = replace(TINY.box_head, score_threshold=0.0, detections=40)
    return replace(
        TINY, class_names=names, category_ids=tuple(range(1, len(names) + 1)), mask_head=HEADS[head], box_head=box_head
    )


def pair(head: str, names: tuple[str, ...] = THREE) -> tuple[Detector, Detector, Detector]:
    """A detector of eighty classes, one of a few that took its weights, and the latter as it was before."""
    given, target = (randomize(Detector(config(each, head)), seed) for seed, each in enumerate((EIGHTY, names)))
    before = randomize(Detector(config(names, head)), 1)
    transfer(target, given, "given.safetensors")
    return given, target, before


def box_heads(detector: Detector) -> list[BoxHead]:
    head = detector.box_head
    return [*head.heads] if isinstance(head, CascadeBoxHead) else [cast(BoxHead, head)]


def pictures() -> tuple[Tensor, Tensor]:
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return images, torch.tensor([[64, 96]])


@pytest.mark.parametrize("head", HEADS)
def test_what_depends_on_classes_is_found_without_a_list(head: str) -> None:
    axes = {key: of_classes for key, of_classes in class_axes(config(THREE, head)).items() if of_classes}
    logits = [key for key in axes if key.endswith("cls_logits.weight")]
    assert len(logits) == (3 if head == "HTC" else 1)
    assert {axes[key][0][1:] for key in logits} == {(1, 1)}
    if head != "HTC":
        assert axes["box_head.bbox_deltas.bias"][0][1:] == (4, 0)
    stages = {"RefineMask": 4, "RefineMask, last stage for all classes": 3, "simple RefineMask": 3, "HTC": 3}
    masks = [key for key in axes if key.startswith("mask_head.") and key.endswith(".weight")]
    assert len(masks) == {**stages, "Mask R-CNN": 1, "PointRend": 5}[head]
    assert not any(key.startswith(("backbone.", "fpn.", "rpn.", "context.")) for key in axes)


@pytest.mark.parametrize("head", HEADS)
@torch.inference_mode()
def test_logits_offsets_and_masks_of_known_classes_are_those_of_the_model_of_eighty(head: str) -> None:
    given, target, before = pair(head)
    images, sizes = pictures()
    features = [detector.features(images, sizes) for detector in (given, target, before)]
    assert all(torch.equal(a, b) for a, b in zip(features[0], features[1], strict=True))
    roi_features = torch.rand(30, TINY.fpn_channels, 7, 7)
    for a, b, c in zip(*(box_heads(detector) for detector in (given, target, before)), strict=True):
        (theirs, their_deltas), (ours, our_deltas), (fresh, fresh_deltas) = (each(roi_features) for each in (a, b, c))
        for own, other in (*PAIRS, (BACKGROUND, BACKGROUND)):
            torch.testing.assert_close(ours[:, own], theirs[:, other])
        for own, other in PAIRS:
            torch.testing.assert_close(
                our_deltas.unflatten(1, (-1, 4))[:, own], their_deltas.unflatten(1, (-1, 4))[:, other]
            )
        # What is new has its own weights, on the features that were taken over.
        assert torch.equal(b.cls_logits.weight[1], c.cls_logits.weight[1])
        assert (fresh.shape, fresh_deltas.shape) == (ours.shape, our_deltas.shape)
    if head == "PointRend":
        # Each of its points reads the coarse masks of all classes, so its points change with the set of classes.
        coarse = [cast(PointRendHead, each.mask_head).coarse_head for each in (given, target)]
        masks = [each(maps[0], rois()) for each, maps in zip(coarse, features, strict=False)]
        for own, other in PAIRS:
            torch.testing.assert_close(masks[1][:, own], masks[0][:, other])
        return
    for own, other in PAIRS:
        theirs, ours = (
            detector.mask_head.predict(maps, rois(), torch.full((6,), label))
            for detector, maps, label in zip((given, target), features, (other, own), strict=False)
        )
        assert torch.equal(ours, theirs)


def rois() -> Tensor:
    corners = torch.rand(6, 2, generator=torch.Generator().manual_seed(5)) * 30
    return torch.cat([torch.zeros(6, 1), corners, corners + 20], dim=1)


@pytest.mark.parametrize("head", HEADS)
@torch.inference_mode()
def test_boxes_found_among_the_known_classes_alone_are_the_same(head: str) -> None:
    """A softmax of fewer logits has other scores, so both models choose among the background and the known classes."""
    given, target, _ = pair(head)
    found = [detect_only(given, [41, 5]), detect_only(target, [0, 2])]
    count = int(found[0].num_detections)
    assert 0 < count == int(found[1].num_detections)
    labels = {41: 0, 5: 2}
    assert [labels[label] for label in found[0].labels[0, :count].tolist()] == found[1].labels[0, :count].tolist()
    torch.testing.assert_close(found[0].boxes, found[1].boxes)
    torch.testing.assert_close(found[0].scores, found[1].scores)


def detect_only(detector: Detector, labels: list[int]) -> DetectedBoxes:
    """The boxes that a detector would find if it knew these classes alone."""
    images, sizes = pictures()
    features = detector.features(images, sizes)
    pyramid, config = features[:5], detector.config.rpn
    proposals: Proposals = detector.rpn.propose(
        detector.rpn(pyramid), detector.rpn.anchors(pyramid), sizes, config.candidates_per_level, config.proposals
    )
    last = box_heads(detector)[-1]
    logits, deltas = last(torch.rand(len(proposals.boxes[0]), TINY.fpn_channels, 7, 7, generator=seeded()))
    others = [label for label in range(last.num_classes) if label not in labels]
    logits[:, others] = -torch.inf
    last.config = replace(last.config, score_threshold=1e-6)
    return last.select(proposals, logits, deltas, sizes)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(11)


@pytest.mark.parametrize("head", HEADS)
def test_rows_of_known_classes_are_equal_bit_for_bit_and_those_of_new_ones_are_fresh(head: str) -> None:
    given, target, before = pair(head)
    axes = class_axes(target.config)
    theirs, fresh = given.state_dict(), before.state_dict()
    for key, tensor in target.state_dict().items():
        if not axes[key]:
            assert torch.equal(tensor, theirs[key]), key
        elif 0 in axes[key] and len(axes[key]) == 1:
            each = axes[key][0].each
            for own, other in PAIRS:
                assert torch.equal(
                    tensor[own * each : (own + 1) * each], theirs[key][other * each : (other + 1) * each]
                )
            assert torch.equal(tensor[each : 2 * each], fresh[key][each : 2 * each])
            assert torch.equal(tensor[3 * each :], theirs[key][80 * each :])


def test_columns_of_a_point_head_follow_the_classes_too() -> None:
    given, target, before = (cast(PointRendHead, each.mask_head).point_head for each in pair("PointRend"))
    channels = TINY.fpn_channels
    for ours, theirs in ((target.fc2.weight, given.fc2.weight), (target.fc1.weight, given.fc1.weight)):
        assert torch.equal(ours[:, :channels], theirs[:, :channels])
        for own, other in PAIRS:
            assert torch.equal(ours[:, channels + own], theirs[:, channels + other])
    assert torch.equal(target.fc2.weight[:, channels + 1], before.fc2.weight[:, channels + 1])
    ours, theirs, fresh = (each.predictor.weight for each in (target, given, before))
    assert torch.equal(ours[0, channels + 2], theirs[41, channels + 5])
    assert torch.equal(ours[1], fresh[1])


@pytest.mark.parametrize("head", HEADS)
def test_equal_classes_take_every_tensor_whole(head: str) -> None:
    given, target, _ = pair(head, EIGHTY)
    found = transfer(target, given, "a")
    state = target.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in given.state_dict().items())
    assert (found.tensors, found.class_tensors, found.new, found.new_classes) == (len(state), 0, (), ())


@pytest.mark.parametrize("head", HEADS)
def test_the_same_classes_in_another_order_are_put_in_order(head: str) -> None:
    given, target, _ = pair(head, EIGHTY[::-1])
    again = randomize(Detector(config(EIGHTY, head)), 7)
    transfer(again, target, "b")
    assert all(torch.equal(again.state_dict()[key], tensor) for key, tensor in given.state_dict().items())
    assert not torch.equal(box_heads(target)[0].cls_logits.weight, box_heads(given)[0].cls_logits.weight)


@pytest.mark.parametrize(
    ("ours", "theirs", "shared"),
    [
        (("a", "b"), ("b", "c"), {1: 0}),
        ((" A", "b "), ("a", "B"), {0: 0, 1: 1}),
        (("car", "Car"), ("Car", "car"), {0: 1, 1: 0}),
        (("car", "car"), ("car", "car"), {0: 0, 1: 1}),
        (("car",), ("dog", "car", "car"), {0: 1}),
        (("Straße",), ("STRASSE",), {0: 0}),
        (("a",), ("b",), {}),
    ],
)
def test_classes_are_known_by_name(ours: tuple[str, ...], theirs: tuple[str, ...], shared: dict[int, int]) -> None:
    assert shared_classes(ours, theirs) == shared


@pytest.mark.parametrize(
    ("theirs", "ours", "new"),
    [
        ("Mask R-CNN", "RefineMask", ("mask_head",)),
        ("RefineMask", "simple RefineMask", ("mask_head",)),
        ("simple RefineMask", "RefineMask", ("mask_head",)),
        ("RefineMask", "HTC", ("context", "box_head", "mask_head")),
        ("HTC", "Mask R-CNN", ("box_head", "mask_head")),
        ("PointRend", "Mask R-CNN", ("mask_head",)),
        ("RefineMask", "RefineMask, last stage for all classes", ("mask_head.instance_logits.3",)),
        ("RefineMask, last stage for all classes", "RefineMask", ("mask_head.instance_logits.3",)),
    ],
)
def test_of_another_mask_head_all_the_rest_is_taken(theirs: str, ours: str, new: tuple[str, ...]) -> None:
    given = randomize(Detector(config(EIGHTY, theirs)), 0)
    target = randomize(Detector(config(EIGHTY, ours)), 1)
    before = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    found = transfer(target, given, "a")
    assert found.new == new
    for key, tensor in target.state_dict().items():
        is_new = any(key.startswith(f"{part}.") for part in new)
        assert torch.equal(tensor, before[key] if is_new else given.state_dict()[key])


def test_another_width_of_the_pyramid_leaves_the_backbone() -> None:
    given = randomize(Detector(replace(config(EIGHTY, "Mask R-CNN"), fpn_channels=16)), 0)
    target = randomize(Detector(config(EIGHTY, "Mask R-CNN")), 1)
    found = transfer(target, given, "a")
    assert found.new == ("fpn", "rpn", "box_head.fc1", "mask_head")
    assert torch.equal(target.backbone.conv1.weight, given.backbone.conv1.weight)


def test_what_was_taken_is_one_line() -> None:
    given, target = (Detector(config(names, "Mask R-CNN")) for names in (EIGHTY, THREE))
    line = str(transfer(target, given, "a.safetensors"))
    assert "\n" not in line
    assert "6 taken row by row: classes Car , person by name; new classes nucleus" in line
    many = str(transfer(given, Detector(config(("x",), "RefineMask")), "b"))
    assert "no classes by name; new classes thing 0, " in many
    assert "and 72 more; drawn anew: mask_head" in many


def test_settings_are_taken_where_the_weights_that_they_belong_to_fit() -> None:
    theirs, ours = config(EIGHTY, "HTC"), config(EIGHTY, "HTC")
    ours = with_settings(ours, {"rpn.anchor_scale": 3.0, "preprocessing.mean": (1.0, 2.0, 3.0)})
    stds = ((0.2, 0.2, 0.3, 0.3),) * 3
    ours = replace(ours, mask_head=HTCConfig(convs=1, delta_stds=stds))
    expected = {
        "preprocessing.mean": theirs.preprocessing.mean,
        "rpn.anchor_scale": 8.0,
        "mask_head.delta_stds": HTCConfig().delta_stds,
    }
    assert learnt_with(theirs, ours) == expected
    assert learnt_with(theirs, with_settings(ours, expected)) == {}
    assert {*learnt_with(theirs, replace(ours, fpn_channels=64))} == {"preprocessing.mean"}
    assert "mask_head.delta_stds" not in learnt_with(theirs, replace(ours, mask_head=HEADS["Mask R-CNN"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("[]", "expected object"),
        ('{"initial_weights": 5}', "initial_weights: expected"),
        ('{"initial_weights": {"source": "a"}}', "initial_weights.*tensors"),
    ],
)
def test_a_malformed_record_of_initial_weights_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(UserError, match=rf"recipe.json: .*{message}.*; expected the recipe of a training run"):
        recorded(tmp_path / "recipe.json")


def test_a_run_without_a_record_has_no_initial_weights(tmp_path: Path) -> None:
    assert recorded(tmp_path / "recipe.json") is None
    (tmp_path / "recipe.json").write_text('{"name": "tiny"}')
    assert recorded(tmp_path / "recipe.json") is None
