"""The whole objective: what is sampled, and that every term is the formula applied to the network's outputs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from refinemask.config import FCNMaskConfig, HTCConfig, MaskHeadConfig, PointRendConfig, RefineMaskConfig
from refinemask.data.coco import read_coco
from refinemask.data.sampler import BatchSampler
from refinemask.data.training import ImageTargets, TrainingBatch, TrainingDataset, collate
from refinemask.modeling.detector import Detector
from refinemask.modeling.rpn import Proposals, real_boxes
from refinemask.ops import multilevel_roi_align
from refinemask.targets.matching import box_iou, match, sample
from refinemask.targets.rois import Supervision, sample_rois
from refinemask.training.objective import anchors_on_image, detection_losses
from tests.support import tiny_training
from tests.support.tolerances import TOLERANCES, assert_near

TRAIN = tiny_training.RECIPE.train


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> TrainingBatch:
    root = tiny_training.draw_dataset(tmp_path_factory.mktemp("data"))
    dataset = TrainingDataset(read_coco(root / "train.json"), root / "images", tiny_training.RECIPE.data)
    return collate([dataset[pick] for pick in BatchSampler(dataset.aspect_ratios, 2, seed=0).batch(0)])


def detector(mask_head: MaskHeadConfig = tiny_training.RECIPE.model.mask_head) -> Detector:
    torch.manual_seed(1)
    model = replace(tiny_training.RECIPE.model, class_names=("square", "disk"), category_ids=(3, 7))
    return Detector(replace(model, mask_head=mask_head)).eval()


def empty(targets: ImageTargets) -> ImageTargets:
    return replace(targets, boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), masks=[])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def deltas_to(truth: np.ndarray, box: np.ndarray) -> np.ndarray:
    size, wanted = box[2:] - box[:2], truth[2:] - truth[:2]
    return np.concatenate([((truth[:2] + truth[2:]) - (box[:2] + box[2:])) / 2 / size, np.log(wanted / size)])


def test_rpn_terms_are_the_formulas_on_the_networks_outputs(batch: TrainingBatch) -> None:
    network = detector()
    losses = detection_losses(network, batch.images, batch.image_sizes, batch.targets, TRAIN)
    with torch.no_grad():
        pyramid = network.pyramid(network.normalize(batch.images, batch.image_sizes))
        output = network.rpn(pyramid)
    anchors = torch.cat(network.rpn.anchors(pyramid)).double().numpy()
    objectness, box, count = 0.0, 0.0, 0
    for image, targets in enumerate(batch.targets):
        logits = np.concatenate([x[image].permute(1, 2, 0).flatten().double().numpy() for x in output.logits])
        deltas = np.concatenate([x[image].permute(1, 2, 0).reshape(-1, 4).double().numpy() for x in output.deltas])
        truths = targets.boxes.double().numpy()
        iou = np.array([[overlap(truth, anchor) for anchor in anchors] for truth in truths])
        matches = np.full(len(anchors), -2)
        matches[iou.max(0) < 0.3] = -1
        matches[iou.max(0) >= 0.7] = iou.argmax(0)[iou.max(0) >= 0.7]
        for index, row in enumerate(iou):
            if row.max() >= 0.3:
                matches[np.isclose(row, row.max(), rtol=TOLERANCES["one float32 operation"].relative)] = index
        chosen = sample(torch.from_numpy(matches), 256, 0.5, torch.Generator().manual_seed(targets.seed))
        objectness += np.log1p(np.exp(-logits[chosen.positive])).sum() + np.log1p(np.exp(logits[chosen.negative])).sum()
        for anchor in chosen.positive.tolist():
            box += np.abs(deltas[anchor] - deltas_to(truths[matches[anchor]], anchors[anchor])).sum()
        count += len(chosen.positive) + len(chosen.negative)
    tolerance = TOLERANCES["loss in float32"]
    expected = (objectness / count, box / count)
    found = (float(losses[name].detach()) for name in ("rpn_objectness", "rpn_box"))
    assert count == 512
    np.testing.assert_allclose(list(found), expected, rtol=tolerance.relative, atol=tolerance.absolute)


def test_box_terms_are_the_formulas_on_the_networks_outputs(batch: TrainingBatch) -> None:
    network = detector()
    losses = detection_losses(network, batch.images, batch.image_sizes, batch.targets, TRAIN)
    with torch.no_grad():
        pyramid = network.pyramid(network.normalize(batch.images, batch.image_sizes))
        anchors = network.rpn.anchors(pyramid)
        proposals = network.rpn.propose(network.rpn(pyramid), anchors, batch.image_sizes, 60, 30)
        generators = [torch.Generator().manual_seed(targets.seed) for targets in batch.targets]
        for generator, targets in zip(generators, batch.targets, strict=True):
            # The anchors of an image are sampled first, from the same random numbers.
            _skip_anchor_sampling(torch.cat(anchors), targets, generator)
        supervision = Supervision(batch.targets, batch.image_sizes, generators, 2, TRAIN)
        sampled = sample_rois(real_boxes(proposals), supervision)
        head: Any = network.box_head
        logits, deltas = head(multilevel_roi_align(pyramid[:4], sampled.rois, 7, 0, 56))
    logits, deltas = logits.double().numpy(), deltas.double().numpy().reshape(len(deltas), 2, 4)
    classification, box = 0.0, 0.0
    for row, (roi, label, owner) in enumerate(zip(sampled.rois, sampled.labels, sampled.owners, strict=True)):
        classification += np.log(np.exp(logits[row]).sum()) - logits[row, label]
        if owner >= 0:
            truth = batch.targets[int(roi[0])].boxes[owner].double().numpy()
            wanted = deltas_to(truth, roi[1:].double().numpy()) / (0.1, 0.1, 0.2, 0.2)
            box += np.abs(deltas[row, label] - wanted).sum()
    tolerance = TOLERANCES["loss in float32"]
    # RefineMask doubles both (reference, trap 19).
    expected = 2 * np.array([classification, box]) / len(sampled.rois)
    found = [float(losses[name].detach()) for name in ("box_class", "box_box")]
    np.testing.assert_allclose(found, expected, rtol=tolerance.relative, atol=tolerance.absolute)


def _skip_anchor_sampling(anchors: torch.Tensor, targets: ImageTargets, generator: torch.Generator) -> None:
    sample(match(box_iou(targets.boxes, anchors), 0.7, 0.3, 0.3), 256, 0.5, generator)


def test_ground_truths_come_first_and_are_always_positive() -> None:
    truth = torch.tensor([[0.0, 0, 20, 20], [30, 30, 50, 50]])
    targets = ImageTargets(boxes=truth, labels=torch.tensor([1, 0]), masks=[], seed=0)
    proposals = torch.cat([truth[:1] + 1, torch.tensor([[5.0, 40, 15, 50]]).expand(30, 4)])
    config = replace(TRAIN, rois_per_image=16)
    generators = [torch.Generator().manual_seed(0)]
    supervision = Supervision([targets], torch.tensor([[64, 64]]), generators, 2, config)
    sampled = sample_rois([proposals], supervision)
    assert sampled.rois.shape == (16, 5)
    assert sampled.owners.tolist() == [0, 1, 0] + [-1] * 13
    assert sampled.labels.tolist() == [1, 0, 1] + [2] * 13
    assert sampled.rois[:2, 1:].equal(truth)
    assert sampled.boxes.equal(truth[[0, 1, 0]])


def test_padding_proposals_are_dropped() -> None:
    boxes, scores = torch.arange(24.0).reshape(1, 6, 4), torch.tensor([[0.9, 0.0, -1, -1, -1, -1]])
    (kept,) = real_boxes(Proposals(boxes, scores))
    assert kept.equal(boxes[0, :2])


def test_anchors_of_the_batchs_further_padding_do_not_count() -> None:
    logits = [torch.zeros(2, 3, 128 // stride, 192 // stride) for stride in (4, 8, 16, 32, 64)]
    chosen = anchors_on_image(logits, torch.tensor([60, 70]))
    # Padded for itself the image is 64 × 96: rows and columns of each level.
    assert len(chosen) == 3 * (16 * 24 + 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2)
    assert chosen[:72].tolist() == list(range(72))
    assert chosen[72] == 48 * 3


HEADS: list[tuple[MaskHeadConfig, set[str]]] = [
    (RefineMaskConfig(instance_convs=1, semantic_convs=1), {"mask_14", "mask_28", "mask_56", "mask_112", "semantic"}),
    (RefineMaskConfig(variant="simple", class_agnostic_last=True), {"mask_14", "mask_28", "mask_56", "mask_112"}),
    (FCNMaskConfig(), {"mask"}),
    (PointRendConfig(hidden=32), {"mask_coarse", "mask_points"}),
    (HTCConfig(convs=1), {"semantic"}),
]


@pytest.mark.parametrize(("head", "names"), HEADS)
def test_every_head_trains_every_weight(batch: TrainingBatch, head: MaskHeadConfig, names: set[str]) -> None:
    network = detector(head)
    losses = detection_losses(network, batch.images, batch.image_sizes, batch.targets, TRAIN)
    assert names == {name for name in losses if name.startswith(("mask", "semantic"))}
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    assert not {name for name, gradient in gradients.items() if gradient is None}
    assert all(gradient.isfinite().all() for gradient in gradients.values() if gradient is not None)


@pytest.mark.parametrize("head", [head for head, _ in HEADS])
@pytest.mark.parametrize("negatives", [1, 2])
def test_images_without_objects_are_all_background(batch: TrainingBatch, head: MaskHeadConfig, negatives: int) -> None:
    network = detector(head)
    targets = [*map(empty, batch.targets[:negatives]), *batch.targets[negatives:]]
    losses = detection_losses(network, batch.images, batch.image_sizes, targets, TRAIN)
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    # Several processes exchange the gradients of all weights, also where one has seen no object.
    assert not {name for name, gradient in gradients.items() if gradient is None}
    assert all(gradient.isfinite().all() for gradient in gradients.values() if gradient is not None)
    learnt_from_objects = {n for n in losses if n.endswith("box") or (n.startswith("mask") or n.endswith("_mask"))}
    assert len(learnt_from_objects) >= 3
    assert {n for n in learnt_from_objects if losses[n] == 0} == (learnt_from_objects if negatives == 2 else set())
    assert losses["rpn_objectness"] > 0


def test_an_image_samples_alike_in_any_batch(batch: TrainingBatch) -> None:
    network = detector()
    pair = detection_losses(network, batch.images, batch.image_sizes, batch.targets, TRAIN)
    singles = [
        detection_losses(
            network, batch.images[i : i + 1], batch.image_sizes[i : i + 1], batch.targets[i : i + 1], TRAIN
        )
        for i in range(2)
    ]
    for name in ("rpn_objectness", "rpn_box"):
        mean = (singles[0][name] + singles[1][name]) / 2
        assert_near(pair[name].detach(), mean.detach(), "loss of one image")
