"""Hybrid Task Cascade against the official model's outputs."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from refinemask.config import BoxHeadConfig, HTCConfig
from refinemask.modeling.cascade import CascadeBoxHead, CascadeMaskHead, pool_with_embedding
from refinemask.modeling.detector import Detections
from refinemask.ops import to_rois
from tests.support.fixture_types import Golden, OfficialDetector
from tests.support.oracle_weights import make_image
from tests.support.tolerances import assert_near

# The detector's parts have Hybrid Task Cascade's own attributes.
Run = tuple[Any, dict[str, np.ndarray], list[torch.Tensor], torch.Tensor, Detections]


@pytest.fixture(scope="module")
def run(official_detector: OfficialDetector, golden: Golden) -> Run:
    """Detector, golden data, the pyramid, the fused semantic map and our detections of the golden image."""
    detector: Any = official_detector("htc_r50_fpn")
    data = golden("htc")
    image = make_image(int(data["seed"]), *map(int, data["pad_shape"]), *map(int, data["img_shape"]))
    images, sizes = torch.from_numpy(image), torch.tensor(data["img_shape"])[None]
    with torch.no_grad():
        pyramid = detector.pyramid(images)
        return detector, data, pyramid, detector.context.hidden(pyramid), detector(images, sizes)


def test_semantic_branch(run: Run) -> None:
    detector, data, pyramid, hidden, _ = run
    with torch.no_grad():
        embedding, logits = detector.context(pyramid)[-1], detector.context.logits(hidden)
    assert_near(embedding[0, ::8], data["semantic_embedding"], "golden logits")
    assert_near(logits[0, ::16], data["semantic_logits"], "golden logits")


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_box_stages(run: Run, stage: int) -> None:
    detector, data, pyramid, *_ = run
    head = detector.box_head.stages[stage]
    rois = torch.from_numpy(data[f"rois{stage}"])
    with torch.no_grad():
        class_logits, deltas = head(pool_with_embedding(detector.context(pyramid), rois, 7))
        refined = head.refine(rois[None, :, 1:], deltas, torch.tensor(data["img_shape"])[None])
    assert_near(class_logits, data[f"cls{stage}"], "golden logits")
    assert_near(deltas[:, :4], data[f"reg{stage}"], "golden logits")
    if stage < 2:
        assert_near(refined[0], data[f"rois{stage + 1}"][:, 1:], "golden boxes")


def test_mask_stages(run: Run) -> None:
    detector, data, pyramid, *_ = run
    rois = to_rois(torch.from_numpy(data["det_bboxes"])[None, :12, :4])
    with torch.no_grad():
        output = detector.mask_head(detector.context(pyramid), rois, torch.from_numpy(data["det_labels"][:12]))
    for stage, logits in enumerate(output.stage_logits):
        assert_near(logits[:, 0], data[f"stage{stage}_logits"], "golden logits")


def test_detections(run: Run) -> None:
    *_, data, _, _, detections = run
    count = int(detections.num_detections[0])
    np.testing.assert_array_equal(detections.labels[0, :count].numpy(), data["det_labels"])
    assert_near(detections.boxes[0, :count], data["det_bboxes"][:, :4], "golden boxes")
    assert_near(detections.scores[0, :count], data["det_bboxes"][:, 4], "golden scores")
    assert_near(detections.masks[0, :count].mean((1, 2)), data["mean_probability"], "golden logits")


def test_the_embedding_is_pooled_at_its_own_stride() -> None:
    torch.manual_seed(0)
    pyramid = [torch.randn(2, 3, 32 >> level, 48 >> level) for level in range(5)]
    embedding = torch.randn(2, 3, 16, 24)
    rois = torch.tensor([[0, 10.0, 20, 90, 100], [1, 0, 0, 33.3, 21.7]])
    semantic = roi_align(embedding, rois, 14, 1 / 8, 0, aligned=True)
    without = [*pyramid, torch.zeros_like(embedding)]
    fine, coarse = (
        pool_with_embedding([*pyramid, embedding], rois, size) - pool_with_embedding(without, rois, size)
        for size in (14, 7)
    )
    assert_near(fine, semantic, "differences in float32")
    assert_near(coarse, F.adaptive_avg_pool2d(semantic, 7), "differences in float32")


def test_one_box_serves_every_class() -> None:
    torch.manual_seed(0)
    head: Any = CascadeBoxHead(4, 3, BoxHeadConfig(hidden=8), HTCConfig()).stages[1]
    with torch.no_grad():
        _, deltas = head(torch.randn(5, 4, 7, 7))
    assert deltas.shape == (5, 12)
    assert torch.equal(deltas[:, :4], deltas[:, 4:8])
    assert head.config.delta_std == (0.05, 0.05, 0.1, 0.1)
    assert head.bbox_deltas.weight.shape == (4, 8)


def test_a_mask_stage_reads_only_those_before_it() -> None:
    torch.manual_seed(0)
    head = CascadeMaskHead(8, 3, HTCConfig(convs=1))
    features = torch.randn(2, 8, 14, 14)
    with torch.no_grad():
        whole, part = head.hidden(features), head.hidden(features, stages=2)
    assert len(part) == 2
    assert all(torch.equal(a, b) for a, b in zip(part, whole, strict=False))
