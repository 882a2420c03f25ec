"""The whole detector against the official model's test-time path."""

import zlib
from typing import Any

import numpy as np
import pytest
import torch

from refinemask.config import (
    BackboneConfig,
    BoxHeadConfig,
    FCNMaskConfig,
    HTCConfig,
    MaskHeadConfig,
    ModelConfig,
    PointRendConfig,
    RefineMaskConfig,
)
from refinemask.modeling.box_head import DetectedBoxes
from refinemask.modeling.detector import Detections, Detector
from refinemask.modeling.rpn import Proposals, RPNOutput
from tests.support.fixture_types import Golden, OfficialDetector
from tests.support.oracle_weights import make_image
from tests.support.tolerances import TOLERANCES, assert_near

Run = tuple[dict[str, np.ndarray], list[torch.Tensor], RPNOutput, Proposals, Detections]


@pytest.fixture(scope="module")
def run(official_detector: OfficialDetector, golden: Golden) -> Run:
    """Detector, golden data, and our pyramid, RPN output, proposals and detections for the golden image."""
    detector, data = official_detector("r50-coco"), golden("detector")
    image = make_image(int(data["seed"]), *map(int, data["pad_shape"]), *map(int, data["img_shape"]))
    assert zlib.crc32(image.tobytes()) == int(data["image_crc32"])
    images, sizes = torch.from_numpy(image), torch.tensor([[int(x) for x in data["img_shape"]]])
    with torch.no_grad():
        pyramid = detector.pyramid(images)
        rpn = detector.rpn(pyramid)
        proposals = detector.rpn.propose(rpn, detector.rpn.anchors(pyramid), sizes, 1000, 1000)
        detections = detector(images, sizes)
    return data, pyramid, rpn, proposals, detections


def test_pyramid_and_rpn_maps(run: Run) -> None:
    data, pyramid, rpn, _, _ = run
    atol = TOLERANCES["golden pyramid"].absolute
    for level, (x, stride) in enumerate(zip(pyramid, data["slice_strides"], strict=True)):
        c, y, z = (int(s) for s in stride)
        np.testing.assert_allclose(x[0, ::c, ::y, ::z].numpy(), data[f"p{level + 2}_slice"], rtol=0, atol=atol)
        step = (8, 4, 2, 1, 1)[level]
        for ours, name in ((rpn.logits, "rpn_cls"), (rpn.deltas, "rpn_reg")):
            found = ours[level][0, :, ::step, ::step].numpy()
            np.testing.assert_allclose(found, data[f"{name}_l{level}"], rtol=0, atol=atol)


def test_proposals(run: Run) -> None:
    data, _, _, proposals, _ = run
    expected = torch.from_numpy(data["proposals"])
    distance = (proposals.boxes[0][:, None] - expected[None, :, :4]).abs().amax(-1)
    assert distance.min(1).values.max() <= TOLERANCES["golden boxes"].absolute
    assert distance.min(0).values.max() <= TOLERANCES["golden boxes"].absolute
    # Some sigmoid scores tie exactly, so the order is not compared.
    assert_near(proposals.scores[0].sort().values, expected[:, 4].sort().values, "golden proposal scores")


def test_detections(run: Run) -> None:
    data, *_, detections = run
    count = int(detections.num_detections[0])
    assert count == len(data["det_labels"])
    np.testing.assert_array_equal(detections.labels[0, :count].numpy(), data["det_labels"])
    boxes = detections.boxes[0, :count].numpy() / data["scale_factor"]
    np.testing.assert_allclose(boxes, data["det_bboxes"][:, :4], rtol=0, atol=TOLERANCES["golden boxes"].absolute)
    scores = detections.scores[0, :count].numpy()
    np.testing.assert_allclose(scores, data["det_bboxes"][:, 4], rtol=0, atol=TOLERANCES["golden scores"].absolute)


def test_masks(run: Run) -> None:
    data, *_, detections = run
    expected = data["final_logits_first12"].reshape(-1, 112, 112)
    share = TOLERANCES["golden final pixels"].absolute
    probabilities = detections.masks[0, : len(expected)].numpy()
    difference = np.abs(np.log(probabilities / (1 - probabilities).clip(1e-12)) - expected)
    assert np.median(difference) <= TOLERANCES["golden final medians"].absolute
    assert (difference > TOLERANCES["golden final logits"].absolute).mean() <= share
    shape = tuple(int(x) for x in data["final_size"])
    foreground = np.unpackbits(data["final_fg_bits"])[: np.prod(shape)].reshape(shape[0], 112, 112)
    ours = detections.masks[0, : shape[0]].numpy() >= 0.5
    assert (ours != foreground).sum() <= share * foreground.sum()


def tiny(mask_head: MaskHeadConfig = RefineMaskConfig(), classes: int = 3, **box: Any) -> Detector:  # noqa: B008
    torch.manual_seed(0)
    config = ModelConfig(
        class_names=tuple("abcdefgh"[:classes]),
        category_ids=tuple(range(1, classes + 1)),
        backbone=BackboneConfig(blocks=(1, 1, 1, 1), width=8),
        fpn_channels=32,
        box_head=BoxHeadConfig(hidden=32, detections=20, **box),
        mask_head=mask_head,
    )
    return Detector(config).eval()


HEADS = [
    FCNMaskConfig(),
    RefineMaskConfig(),
    RefineMaskConfig(variant="simple"),
    PointRendConfig(hidden=32),
    HTCConfig(),
]


@pytest.mark.parametrize("head", HEADS)
def test_a_batch_equals_its_images_one_by_one(head: MaskHeadConfig) -> None:
    detector = tiny(head, score_threshold=0.0)
    images = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8)
    sizes = torch.tensor([[96, 128], [70, 101]])
    with torch.no_grad():
        batch = detector(images, sizes)
        alone = [detector(images[i : i + 1], sizes[i : i + 1]) for i in range(2)]
    for field, parts in zip(batch, zip(*alone, strict=True), strict=True):
        assert_near(field, torch.cat(parts), "batches")


def test_without_detections_everything_is_zero_padding() -> None:
    detector = tiny(score_threshold=0.99)
    with torch.no_grad():
        result = detector(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]]))
    assert int(result.num_detections[0]) == 0
    assert result.masks.shape == (1, 20, 112, 112)
    assert not result.boxes.any()
    assert not result.scores.any()
    assert not result.labels.any()


@pytest.mark.parametrize("num_detections", [[3, 1], [0, 2], [0, 0]])
@pytest.mark.parametrize("head", HEADS)
def test_only_detections_are_segmented(head: MaskHeadConfig, num_detections: list[int]) -> None:
    """An exported graph segments padding too; detections get the same masks."""
    detector = tiny(head)
    corners = torch.rand(2, 3, 2) * 40
    boxes = torch.cat([corners, corners + 5 + torch.rand(2, 3, 2) * 40], dim=2)
    detected = DetectedBoxes(
        boxes, torch.ones(2, 3), torch.tensor([[0, 1, 2], [2, 2, 0]]), torch.tensor(num_detections)
    )
    with torch.no_grad():
        features = detector.features(torch.randn(2, 3, 96, 96), torch.tensor([[96, 96]] * 2))
        found = detector.segment(features, detected)
        expected = detector.segment_all(features, detected.boxes, detected.labels)
        ahead = detector.segment_all(features, detected.boxes, detected.labels, detector.mask_head.image_maps(features))
    real = torch.arange(3) < detected.num_detections[:, None]
    assert found.shape == expected.shape
    assert_near(found[real], expected[real], "batches")
    assert_near(ahead, expected, "batches")
    assert not found[~real].any()
    assert expected[~real].all(), "a mask that was computed has no probability of exactly zero"


def test_padding_does_not_depend_on_its_pixels() -> None:
    """The official pipeline pads with zeros after normalisation; so does the network, whatever is in the padding."""
    detector = tiny(score_threshold=0.0)
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    other = image.clone()
    image[:, :, 50:], image[:, :, :, 80:] = 0, 0
    other[:, :, 50:], other[:, :, :, 80:] = 255, 255
    sizes = torch.tensor([[50, 80]])
    normalised = detector.normalize(image, sizes)
    assert torch.equal(normalised, detector.normalize(other, sizes))
    assert not normalised[:, :, 50:].any()
    assert not normalised[:, :, :, 80:].any()
    pixel = image[0, :, 10, 20].numpy().astype(np.float32)
    expected = (pixel - np.array([123.675, 116.28, 103.53], np.float32)) * (
        1 / np.array([58.395, 57.12, 57.375], np.float32)
    )
    assert_near(normalised[0, :, 10, 20], expected, "one float32 operation")


def test_normalised_floats_are_taken_as_they_are() -> None:
    detector = tiny(score_threshold=0.0)
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    sizes = torch.tensor([[64, 64]])
    with torch.no_grad():
        a, b = detector(image, sizes), detector(detector.normalize(image, sizes), sizes)
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x, y)
