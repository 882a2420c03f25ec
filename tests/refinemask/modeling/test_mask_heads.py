"""Mask heads against the official model's outputs."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refinemask.modeling.blocks import MaskOutput
from refinemask.modeling.detector import Detector
from refinemask.modeling.refine_mask_head import merge_stages
from refinemask.ops import boundary_map, upsample_aligned
from tests.support.fixture_types import Golden, OfficialDetector
from tests.support.tolerances import TOLERANCES, assert_near

HEADS = [("r50-coco", "mask_head"), ("r50-coco-faster-better", "simple_mask_head")]


def run_head(detector: Detector, data: dict[str, np.ndarray]) -> MaskOutput:
    pyramid = [torch.from_numpy(data["p2"])]
    for _ in range(3):
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    rois, labels = torch.from_numpy(data["rois"]), torch.from_numpy(data["labels"]).long()
    with torch.no_grad():
        head: Any = detector.mask_head
        return head(pyramid, rois, labels)


@pytest.mark.parametrize(("weights", "file"), HEADS)
def test_head_reproduces_the_official_logits(
    official_detector: OfficialDetector, golden: Golden, weights: str, file: str
) -> None:
    detector, data = official_detector(weights), golden(file)
    output = run_head(detector, data)
    atol = TOLERANCES["golden logits"].absolute
    for stage, logits in enumerate(output.stage_logits):
        np.testing.assert_allclose(logits.numpy(), data[f"stage{stage}_logits"], rtol=0, atol=atol)
    if "semantic_logits" in data:
        assert output.semantic_logits is not None
        np.testing.assert_allclose(output.semantic_logits.numpy(), data["semantic_logits"], rtol=0, atol=atol)
    merged = merge_stages(output.stage_logits)
    np.testing.assert_allclose(merged.numpy(), data["refined_logits"], rtol=0, atol=atol)


@pytest.mark.parametrize("file", ["mask_head", "simple_mask_head"])
def test_boundary_maps_equal_the_official_ones(golden: Golden, file: str) -> None:
    data = golden(file)
    coarse = torch.from_numpy(data["stage1_logits"])
    refined = torch.from_numpy(data.get("refined56_logits", data["stage2_logits"]))
    for logits, size in ((coarse, 28), (refined, 56))[: 2 if "refined56_logits" in data else 1]:
        boundary = boundary_map((logits.sigmoid() >= 0.5).float(), width=1)
        np.testing.assert_array_equal(boundary.numpy() == 1, (data[f"block{size}"] == 1).reshape(boundary.shape))
        interior = upsample_aligned(1 - boundary) >= 0.5
        expected = data[f"nonboundary{2 * size}"].reshape(interior.shape)
        np.testing.assert_array_equal(interior.numpy(), expected)


def test_pixels_outside_the_boundary_come_from_the_refined_coarser_stage(golden: Golden) -> None:
    """Refinement is cumulative: 112 is filled from the merged 56, not from the raw one."""
    data = golden("mask_head")
    stages = [torch.from_numpy(data[f"stage{stage}_logits"]) for stage in range(4)]
    merged56, final = torch.from_numpy(data["refined56_logits"]), merge_stages(stages)
    interior = torch.from_numpy(data["nonboundary112"].reshape(final.shape).astype(bool))
    assert_near(final[interior], upsample_aligned(merged56)[interior], "golden merge")
    raw = upsample_aligned(stages[2])
    assert (final[interior] - raw[interior]).abs().max() > 0.1
