"""PointRend against the official model's outputs and plain formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refinemask.config import PointRendConfig
from refinemask.modeling.detector import Detections
from refinemask.modeling.point_head import POINTS, PointRendHead, pixel_centres
from refinemask.modeling.point_sampling import sample_points
from refinemask.ops import to_rois
from tests.support.fixture_types import Golden, OfficialDetector
from tests.support.oracle_weights import make_image
from tests.support.tolerances import TOLERANCES, assert_near

Run = tuple[dict[str, np.ndarray], torch.Tensor, tuple[torch.Tensor, ...], Detections]


@pytest.fixture(scope="module")
def run(official_detector: OfficialDetector, golden: Golden) -> Run:
    """Golden data, our detections, and the mask head's output for the golden boxes."""
    detector, data = official_detector("point_rend_r50_caffe_fpn"), golden("pointrend")
    # The official backbone reads BGR; the converted one RGB.
    image = make_image(int(data["seed"]), *map(int, data["pad_shape"]), *map(int, data["img_shape"]))[:, ::-1].copy()
    images, sizes = torch.from_numpy(image), torch.tensor(data["img_shape"])[None]
    rois = to_rois(torch.from_numpy(data["det_bboxes"])[None, :, :4])
    with torch.no_grad():
        pyramid = detector.pyramid(images)
        assert isinstance(detector.mask_head, PointRendHead)
        coarse = detector.mask_head.coarse_head(pyramid[0], rois)
        output = detector.mask_head(pyramid, rois, torch.from_numpy(data["det_labels"]))
        detections = detector(images, sizes)
    return data, coarse, output.stage_logits, detections


def test_coarse_masks(run: Run) -> None:
    data, coarse, *_ = run
    assert_near(coarse[0], data["coarse_first"], "golden logits")
    own = coarse[torch.arange(12), torch.from_numpy(data["det_labels"][:12])]
    assert_near(own, data["coarse"], "golden logits")


def test_every_subdivision(run: Run) -> None:
    data, _, stage_logits, _ = run
    at28, at56, at112, at224 = (logits[:, 0].numpy() for logits in stage_logits)
    atol = TOLERANCES["golden logits"].absolute
    np.testing.assert_allclose(at28[:12], data["logits28"], rtol=0, atol=atol)
    pairs = [(at56[:6], "logits56"), (at112[:3], "logits112"), (at224[:3, ::2, ::2], "logits224_half")]
    for ours, name in pairs:
        # Two pixels nearly alike in uncertainty may change places at the end of the selection.
        assert (np.abs(ours - data[name]) > atol).mean() <= TOLERANCES["golden chosen points"].absolute


def test_detections_and_masks(run: Run) -> None:
    data, *_, detections = run
    count = int(detections.num_detections[0])
    np.testing.assert_array_equal(detections.labels[0, :count].numpy(), data["det_labels"])
    assert_near(detections.boxes[0, :count], data["det_bboxes"][:, :4], "golden boxes")
    assert_near(detections.scores[0, :count], data["det_bboxes"][:, 4], "golden scores")
    foreground = np.unpackbits(data["foreground224"], count=count * 224**2).reshape(count, 224, 224)
    ours = detections.masks[0, :count].numpy() >= 0.5
    assert (ours != foreground).mean() <= TOLERANCES["golden chosen points"].absolute


def test_sampling_equals_grid_sample_with_zeros_outside() -> None:
    torch.manual_seed(0)
    maps = torch.randn(3, 5, 6, 9, dtype=torch.float64)
    index = torch.tensor([2, 0, 0, 1])
    points = torch.rand(4, 50, 2, dtype=torch.float64) * torch.tensor([15.0, 12.0]) - 3
    points[0, :4] = torch.tensor([[0.5, 0.5], [-0.5, 2.0], [9.5, 6.5], [8.5, 5.5]])
    grid = (2 * points / torch.tensor([9.0, 6.0], dtype=torch.float64) - 1)[:, None]
    expected = F.grid_sample(maps[index], grid, mode="bilinear", align_corners=False)[:, :, 0].transpose(1, 2)
    assert_near(sample_points(maps, index, points), expected, "sums in float64")


def test_pixels_are_counted_row_by_row() -> None:
    centres = pixel_centres(torch.tensor([0, 3, 5]), 4)
    torch.testing.assert_close(centres, torch.tensor([[0.125, 0.125], [0.875, 0.125], [0.375, 0.375]]))


def plain(head: PointRendHead, p2: torch.Tensor, rois: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The definition, all classes refined, nothing moved across the sampling."""
    points_head, coarse = head.point_head, head.coarse_head(p2, rois)
    refined = coarse
    for _ in range(5):
        refined = F.interpolate(refined, scale_factor=2, mode="bilinear", align_corners=False)
        size = refined.shape[-1]
        if 4 * size**2 <= POINTS:
            continue
        own = refined[torch.arange(len(rois)), labels].flatten(1)
        chosen = (-own.abs()).topk(min(POINTS, size**2)).indices
        relative = torch.stack([(chosen % size + 0.5) / size, (chosen // size + 0.5) / size], 2).to(p2.dtype)
        absolute = rois[:, None, 1:3] + relative * (rois[:, None, 3:] - rois[:, None, 1:3])
        extent = torch.tensor([p2.shape[3], p2.shape[2]], dtype=p2.dtype) * 4
        image = rois[:, 0].long()
        fine = F.grid_sample(p2[image], 2 * absolute[:, None] / extent - 1)[:, :, 0]
        guide = F.grid_sample(coarse, 2 * relative[:, None] - 1)[:, :, 0]
        x = fine
        for layer in (points_head.fc1, points_head.fc2, points_head.fc3):
            x = F.relu(F.conv1d(torch.cat([x, guide], 1), layer.weight[..., None], layer.bias))
        new = F.conv1d(torch.cat([x, guide], 1), points_head.predictor.weight[..., None], points_head.predictor.bias)
        refined = refined.flatten(2).scatter(2, chosen[:, None].expand(-1, new.shape[1], -1), new).view_as(refined)
    return refined[torch.arange(len(rois)), labels]


@pytest.mark.filterwarnings("ignore:Default grid_sample")
def test_only_the_labels_channel_is_needed() -> None:
    torch.manual_seed(0)
    head = PointRendHead(16, 5, PointRendConfig(hidden=24)).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    p2 = torch.randn(2, 16, 30, 40, dtype=torch.float64)
    rois = torch.tensor([[0, 8, 9, 60, 70], [1, -5, 30.5, 70, 99], [0, 100, 60, 165, 125]], dtype=torch.float64)
    labels = torch.tensor([4, 0, 2])
    with torch.no_grad():
        ours = head([p2], rois, labels).stage_logits[-1][:, 0]
        expected = plain(head, p2, rois, labels)
    assert_near(ours, expected, "refined points in float64")


def test_padded_rois_are_harmless() -> None:
    torch.manual_seed(0)
    head = PointRendHead(16, 5, PointRendConfig(hidden=24))
    pyramid = [torch.randn(1, 16, 30, 40)]
    with torch.no_grad():
        masks = head.predict(pyramid, torch.zeros(2, 5), torch.zeros(2).long())
    assert masks.shape == (2, 224, 224)
    assert torch.isfinite(masks).all()
