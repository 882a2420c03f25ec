"""RefineMask's stages with channels in whole vectors give the same masks."""

from dataclasses import replace

import pytest
import torch

from benchmarks.harness.random_detector import randomize
from engines.compiled.padded_stages import VECTOR, pad_stages
from engines.compiled.program import traced_parts
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import ExportedDetector
from refinemask.modeling.refine_mask_head import RefineMaskHead
from tests.support.tiny_detector import TINY
from tests.support.tiny_families import MASK_HEADS, make_tiny_family
from tests.support.tolerances import assert_near
from tests.support.traced_parts import SIZE, make_batch


def exported(channels: int) -> ExportedDetector:
    """A tiny RefineMask, some of whose biases are not zero."""
    detector = randomize(Detector(replace(TINY, fpn_channels=channels)), 0)
    with torch.no_grad():
        for name, bias in detector.named_parameters():
            if name.endswith("transform_out.bias"):
                bias.normal_()
    return ExportedDetector(detector)


def handed_on(mask_head: object) -> list[int]:
    """Channels that the stages hand on."""
    assert isinstance(mask_head, RefineMaskHead)
    return [stage.transform_out.out_channels for stage in mask_head.stages]


@pytest.mark.parametrize(
    ("channels", "before", "after"),
    [(64, [30, 14, 6], [32, 16, 8]), (32, [14, 6, 2], [16, 8, 2]), (48, [22, 10, 4], [24, 10, 4])],
)
def test_channels_are_padded_by_two_where_that_makes_whole_vectors(
    channels: int, before: list[int], after: list[int]
) -> None:
    """Weights of the next stage have two columns more, those of masks, and zeros may stand before no others."""
    detector = exported(channels)
    batch = make_batch()
    with torch.no_grad():
        expected = detector(*batch)
        assert handed_on(detector.detector.mask_head) == before
        pad_stages(detector.detector.mask_head)
        assert handed_on(detector.detector.mask_head) == after
        found = detector(*batch)
    assert expected[3].min() > 1
    for ours, theirs in zip(found[:4], expected[:4], strict=True):
        assert torch.equal(ours, theirs)
    assert_near(found[4], expected[4], "padded rois")
    assert expected[4].std() > 0.1


def test_published_widths_become_whole_vectors() -> None:
    head = RefineMaskHead(256, 80, replace(TINY.mask_head))  # type: ignore[arg-type]
    head.requires_grad_(False)
    assert handed_on(head) == [126, 62, 30]
    pad_stages(head)
    assert handed_on(head) == [128, 64, 32]


def test_convolutions_of_the_traced_masks_write_whole_vectors() -> None:
    """But for those of logits, of one channel for each RoI's label."""
    detector = exported(64).detector
    pad_stages(detector.mask_head)
    *_, (name, masks, _) = traced_parts(detector, 2, SIZE, "cpu")
    assert name == "masks"
    convs = [node for node in masks.graph.nodes if node.target is torch.ops.aten.conv2d.default]
    written = {node.meta["val"].shape[1] for node in convs}
    assert written
    assert all(channels % VECTOR == 0 for channels in written)


def test_types_and_devices_are_those_of_the_stage() -> None:
    detector = ExportedDetector(make_tiny_family("RefineMask"), torch.bfloat16)
    head = detector.detector.mask_head
    assert isinstance(head, RefineMaskHead)
    pad_stages(head)
    conv = head.stages[0].transform_out
    assert conv.bias is not None
    assert conv.out_channels == 16
    assert conv.weight.dtype == conv.bias.dtype == torch.bfloat16
    assert not conv.weight.requires_grad
    assert not conv.weight[14:].any()
    assert not conv.bias[14:].any()


@pytest.mark.parametrize("family", [name for name in MASK_HEADS if name != "RefineMask"])
def test_other_heads_stay_as_they_are(family: str) -> None:
    detector = make_tiny_family(family)
    before = {name: tensor.shape for name, tensor in detector.state_dict().items()}
    pad_stages(detector.mask_head)
    assert {name: tensor.shape for name, tensor in detector.state_dict().items()} == before
