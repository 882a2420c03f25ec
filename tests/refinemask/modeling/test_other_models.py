"""Losses of PointRend and Hybrid Task Cascade against the official ones, for RoIs that are all sampled."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refinemask.config import TrainConfig
from refinemask.data.training import ImageTargets
from refinemask.modeling import point_head
from refinemask.modeling.cascade_losses import cascade_losses
from refinemask.modeling.detector import Detector
from refinemask.modeling.point_sampling import sample_points
from refinemask.modeling.point_targets import choose_points, point_targets
from refinemask.modeling.semantic_head import UNLABELLED, semantic_class_loss, semantic_classes
from refinemask.targets.mask_targets import rasterise
from refinemask.targets.rois import Supervision, batch_mask_targets, sample_rois
from tests.support.fixture_types import Golden, OfficialDetector
from tests.support.oracle_weights import make_image
from tests.support.tolerances import TOLERANCES, assert_near

CONFIG = TrainConfig(box_loss_weight=1.0, smooth_l1_beta=1.0, rois_per_image=512)


def truth(
    data: dict[str, np.ndarray],
) -> tuple[list[ImageTargets], list[torch.Tensor], list[torch.Generator]]:
    """Targets, proposals and generators of the golden batch."""
    shape = (len(data["gt_boxes"]), *data["pad_shape"])
    masks = np.unpackbits(data["mask_bits"], count=np.prod(shape)).reshape(shape)
    targets, proposals = [], []
    for image in (0, 1):
        own = data["gt_image"] == image
        boxes, labels = torch.from_numpy(data["gt_boxes"][own]), torch.from_numpy(data["gt_labels"][own])
        targets.append(ImageTargets(boxes=boxes, labels=labels, masks=list(masks[own]), seed=image))
        proposals.append(torch.from_numpy(data["proposals"][data["proposal_image"] == image]))
    return targets, proposals, [torch.Generator().manual_seed(target.seed) for target in targets]


def pyramid(
    detector: Detector, data: dict[str, np.ndarray], channels: slice = slice(None)
) -> tuple[list[torch.Tensor], torch.Tensor]:
    sizes = [tuple(int(x) for x in size) for size in data["image_sizes"]]
    pad = [int(x) for x in data["pad_shape"]]
    images = [make_image(int(data["seed"]) + index, *pad, *size) for index, size in enumerate(sizes)]
    return detector.pyramid(torch.from_numpy(np.concatenate(images)[:, channels].copy())), torch.tensor(sizes)


def test_every_stage_of_the_cascade(official_detector: OfficialDetector, golden: Golden) -> None:
    detector, data = official_detector("htc_r50_fpn"), golden("htc_loss")
    targets, proposals, generators = truth(data)
    cells = np.ones((8, 8), np.uint8)
    targets = [replace(t, semantic=np.kron(m[0], cells)) for t, m in zip(targets, data["semantic"], strict=True)]
    with torch.no_grad():
        maps, sizes = pyramid(detector, data)
        supervision = Supervision(targets, sizes, generators, 80, CONFIG)
        heads: Any = detector
        losses = cascade_losses(heads.context, heads.box_head, heads.mask_head, maps, proposals, supervision)
    expected = {"semantic": data["loss_semantic_seg"]}
    for stage in range(3):
        for ours, theirs in (("box_class", "loss_cls"), ("box_box", "loss_bbox"), ("mask", "loss_mask")):
            expected[f"stage{stage}_{ours}"] = data[f"s{stage}.{theirs}"]
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(float(value), rel=TOLERANCES["golden loss terms"].relative), name


def test_coarse_masks_and_points(
    official_detector: OfficialDetector, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, data = official_detector("point_rend_r50_caffe_fpn"), golden("pointrend_loss")
    targets, proposals, generators = truth(data)
    supervision = Supervision(targets, torch.from_numpy(data["image_sizes"]), generators, 80, CONFIG)
    positives = sample_rois(proposals, supervision).positives
    np.testing.assert_array_equal(positives.rois.numpy(), data["rois"])
    np.testing.assert_array_equal(positives.owners.numpy(), data["owners"])
    count = len(positives.rois)
    (coarse,) = batch_mask_targets(targets, positives, (7,))
    np.testing.assert_array_equal(np.packbits(coarse.numpy().astype(bool)), data["coarse_targets"])

    chosen = torch.from_numpy(np.random.Generator(np.random.PCG64(3)).random((count, 196, 2), dtype=np.float32))
    first = positives.rois[:, 0] == 0
    on_first = point_targets(targets[0].masks, positives.rois[first, 1:], positives.owners[first], chosen[first])
    expected = data["point_targets"][first.numpy()]
    np.testing.assert_allclose(on_first[:, :16].numpy(), expected, atol=TOLERANCES["point targets"].absolute)

    per_image = iter(chosen.split([int(first.sum()), int((~first).sum())]))
    monkeypatch.setattr(point_head, "choose_points", lambda logits, generator: next(per_image))
    with torch.no_grad():
        maps, _ = pyramid(detector, data, channels=slice(None, None, -1))
        assert isinstance(detector.mask_head, point_head.PointRendHead)
        losses = detector.mask_head.losses(maps, positives, supervision)
    rel = TOLERANCES["golden loss terms"].relative
    assert float(losses["mask_coarse"]) == pytest.approx(float(data["loss_mask"]), rel=rel)
    assert float(losses["mask_points"]) == pytest.approx(float(data["loss_point"]), rel=rel)


def test_three_quarters_of_the_points_are_the_least_certain_drawn() -> None:
    logits = torch.linspace(-3, 3, 7)[None, None, :].expand(2, 7, 7)  # uncertain in the middle column
    chosen = choose_points(logits, torch.Generator().manual_seed(0))
    assert chosen.shape == (2, 196, 2)
    assert ((chosen >= 0) & (chosen <= 1)).all()
    drawn = torch.rand(2, 588 + 49, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(chosen[:, 147:], drawn[:, 588:])
    distance = lambda x: (x[..., 0] - 0.5).abs()  # noqa: E731
    rim = ((drawn > 1 / 14) & (drawn < 13 / 14)).all(2)  # where zeros outside the mask do not blur it
    nearest = distance(drawn[:, :588].where(rim[:, :588, None], 9)).sort(1).values[:, 100]
    assert (
        distance(chosen[:, :147]).sort(1).values[:, 100] <= nearest + TOLERANCES["one float32 operation"].relative
    ).all()
    torch.testing.assert_close(
        choose_points(logits[:1], torch.Generator().manual_seed(5)),
        choose_points(logits[:1], torch.Generator().manual_seed(5)),
    )


def test_points_read_polygons_and_bitmaps_alike() -> None:
    polygon = [np.array([4.0, 3, 30, 5, 25, 28, 6, 20])]
    bitmap = rasterise(polygon, 40, 50)
    boxes = torch.tensor([[2.0, 2, 33, 30], [10, 10, 20, 49]])
    places = torch.rand(2, 60, 2, generator=torch.Generator().manual_seed(0))
    owners = torch.tensor([0, 0])
    from_polygon, from_bitmap = (point_targets([mask], boxes, owners, places) for mask in (polygon, bitmap))
    assert torch.equal(from_polygon, from_bitmap)
    absolute = boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2])
    grid = 2 * absolute / torch.tensor([50.0, 40]) - 1
    pixels = torch.from_numpy(bitmap).float().expand(2, 1, 40, 50)
    expected = F.grid_sample(pixels, grid[:, None], align_corners=False)[:, 0, 0]
    assert_near(from_bitmap, expected, "mask sample position")
    assert 0 < float(from_bitmap.mean()) < 1
    assert torch.equal(sample_points(pixels, owners, absolute)[..., 0], from_bitmap)


def test_semantic_maps_without_labels_cost_nothing() -> None:
    logits = torch.randn(2, 5, 4, 6, requires_grad=True)
    labels = semantic_classes([None, np.full((17, 24), 3, np.uint8)], (4, 6))
    assert (labels[0] == UNLABELLED).all()
    assert (labels[1, :3, :3] == 3).all()
    assert (labels[1, 3:] == UNLABELLED).all()
    assert (labels[1, :, 3:] == UNLABELLED).all()
    expected = -logits[1, :, :3, :3].log_softmax(0)[3].mean()
    torch.testing.assert_close(semantic_class_loss(logits, labels), expected)
    nothing = semantic_class_loss(logits, torch.full_like(labels, UNLABELLED))
    nothing.backward()
    assert float(nothing) == 0
    assert logits.grad is not None
    assert not logits.grad.any()
