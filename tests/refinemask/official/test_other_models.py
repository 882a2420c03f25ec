import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from refinemask.official.detector import recognise
from refinemask.official.other_models import first_few, other_model, printable
from tests.support.official_files import outline, small_mask_rcnn

State = dict[str, Tensor]


def without(*parts: str) -> Callable[[State], State]:
    return lambda state: {key: tensor for key, tensor in state.items() if not any(part in key for part in parts)}


def adding(key: str, *shape: int) -> Callable[[State], State]:
    return lambda state: {**state, key: torch.ones(shape)}


def under(prefix: str, shortened: str = "") -> Callable[[State], State]:
    return lambda state: {f"{prefix}{key.removeprefix(shortened)}": tensor for key, tensor in state.items()}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (adding("backbone.layer2.0.conv2.conv_offset.weight", 27, 4, 3, 3), "deformable convolutions"),
        (adding("backbone.layer1.0.conv2.weight", 128, 4, 3, 3), r"ResNeXt \(32 groups\)"),
        (without("conv3", "bn3"), "ResNet-18 or -34"),
        (without("running_mean"), "without batch normalisation"),
        (adding("backbone.gn1.weight", 4), "group normalisation"),
        (adding("neck.lateral_convs.0.gn.weight", 4), "group normalisation"),
        (adding("roi_head.mask_iou_head.fcs.0.weight", 4, 4), "Mask Scoring R-CNN"),
        (without("mask_head"), "Faster R-CNN"),
        (adding("roi_head.bbox_head.0.fc_cls.weight", 3, 64), "Cascade Mask R-CNN"),
        (adding("backbone.layer3.0.context_block.conv_mask.weight", 1), "global context"),
        (adding("roi_head.bbox_head.shared_convs.0.conv.weight", 1), "a box head with convolutions"),
        (adding("backbone.stem.0.weight", 1), "deep stem"),
        (adding("backbone.patch_embed.projection.weight", 1), "transformer"),
        (under("backbone.bottom_up."), "a detectron2 model"),
        (under("backbone.body."), "a torchvision model"),
        (under("model."), "Lightning"),
        (under("student."), "semi-supervised"),
        (
            lambda state: {key.removeprefix("roi_head."): tensor for key, tensor in state.items()},
            "an mmdetection 1 model",
        ),
        (lambda state: {"bbox_head.retina_cls.weight": torch.ones(1)}, "a one-stage detector"),
    ],
)
def test_other_models_are_named(change: Callable[[State], State], name: str) -> None:
    found = other_model(change(small_mask_rcnn()))
    assert re.search(name, found), found
    assert len(found) < 200


@pytest.mark.parametrize("name", ["r50-coco", "r50-coco-faster-better", "point_rend_r50_caffe_fpn", "htc_r50_fpn"])
def test_own_models_are_no_others(name: str) -> None:
    assert other_model(outline(name)) == ""


def test_the_small_checkpoint_is_a_mask_rcnn() -> None:
    config = recognise(small_mask_rcnn(3))
    assert (config.num_classes, config.backbone.blocks, config.fpn_channels) == (3, (1, 1, 1, 1), 16)
    assert other_model(small_mask_rcnn()) == ""


def test_names_are_shown_short_and_on_one_line() -> None:
    assert printable("a\nb") == r"'a\nb'"
    assert len(printable("x" * 1000)) == 80
    assert first_few([]) == "none"
    assert first_few("abc") == "a, b, c"
    assert first_few("abcd") == "a, b, c and 1 more"
