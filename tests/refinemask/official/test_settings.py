from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from refinemask.config import FCNMaskConfig, HTCConfig, ModelConfig, PointRendConfig, Preprocessing
from refinemask.files import UserError
from refinemask.official.detector import recognise
from refinemask.official.settings import normalisation_of, take_over
from refinemask.official.stored_config import parse_settings
from tests.support.mutations import refusal
from tests.support.official_files import mmdetection_2, mmdetection_3, outline

ASSUMED = ModelConfig(class_names=("a", "b"), category_ids=(1, 2), mask_head=FCNMaskConfig())
CAFFE = "mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False"


def taken(text: str, assumed: ModelConfig = ASSUMED) -> ModelConfig:
    return take_over(assumed, parse_settings(text))[0]


@pytest.mark.parametrize("text", [mmdetection_2(), mmdetection_3(), "", "model = dict(type='MaskRCNN')"])
def test_the_usual_configurations_change_nothing(text: str) -> None:
    assert taken(text) == ASSUMED


def test_what_was_taken_is_said() -> None:
    said = "from its configuration: RGB, 1333x800, 100 detections"
    assert take_over(ASSUMED, parse_settings(mmdetection_2()))[1] == said
    text = mmdetection_2(norm=CAFFE, style="'caffe'", scales="[4]", score="0.01")
    assert take_over(ASSUMED, parse_settings(text))[1] == (
        "from its configuration: BGR, std 1, caffe strides, 1333x800, 100 detections, anchor scale 4.0, "
        "score threshold 0.01"
    )
    text = "model = dict(backbone=dict(type='ResNet', style='caffe'))"
    assert take_over(ASSUMED, parse_settings(text))[1] == (
        "from its configuration: caffe strides; not in it, and so as in the official ones: colours, 1333x800, "
        "100 detections"
    )


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"style": "'caffe'"}, "backbone.stride_in_1x1", True),
        ({"norm": CAFFE}, "preprocessing", Preprocessing(std=(1.0, 1.0, 1.0))),
        ({"scale": "(2048, 1024)"}, "preprocessing.long_side", 2048),
        ({"scale": "[(800, 1333)]"}, "preprocessing.short_side", 800),
        ({"scale": "(512, 512)"}, "preprocessing", Preprocessing(short_side=512, long_side=512)),
        ({"scales": "[4]"}, "rpn.anchor_scale", 4.0),
        ({"proposals": "300"}, "rpn.proposals", 300),
        ({"proposals": "9999"}, "rpn.proposals", 5000),
        ({"rpn_nms": "nms=dict(type='nms', iou_threshold=0.6)"}, "rpn.nms_iou", 0.6),
        ({"nms": "dict(type='nms', iou_threshold=0.4)"}, "box_head.nms_iou", 0.4),
        ({"nms": "dict(type='nms', iou_thr=0.3)"}, "box_head.nms_iou", 0.3),
        ({"score": "0.0001"}, "box_head.score_threshold", 0.0001),
        ({"detections": "300"}, "box_head.detections", 300),
        ({"stds": "[0.05, 0.05, 0.1, 0.1]"}, "box_head.delta_std", (0.05, 0.05, 0.1, 0.1)),
    ],
)
def test_settings_are_taken(changes: dict[str, str], field: str, value: Any) -> None:
    found: Any = taken(mmdetection_2(**changes))
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"style": "'tensorflow'"}, "model.backbone.style to 'tensorflow'"),
        ({"backbone": "dcn=dict(type='DCN')"}, "model.backbone.dcn"),
        ({"backbone": "plugins=[dict(cfg=dict(type='ContextBlock'))]"}, "model.backbone.plugins"),
        ({"backbone": "strides=(1, 2, 2, 1)"}, "model.backbone.strides to [1, 2, 2, 1]"),
        ({"backbone": "deep_stem=True"}, "model.backbone.deep_stem to True"),
        ({"backbone": "conv_cfg=dict(type='ConvWS')"}, "model.backbone.conv_cfg.type to 'ConvWS'"),
        ({"neck": "num_outs=6"}, "model.neck.num_outs to 6"),
        ({"neck": "add_extra_convs='on_input'"}, "model.neck.add_extra_convs to 'on_input'"),
        ({"neck": "start_level=1"}, "model.neck.start_level to 1"),
        ({"neck": "norm_cfg=dict(type='GN')"}, "model.neck.norm_cfg"),
        ({"extractor": "finest_scale=28"}, "model.roi_head.bbox_roi_extractor.finest_scale to 28"),
        ({"scales": "[4, 8]"}, "anchor_generator.scales to [4.0, 8.0]"),
        ({"scales": "make()"}, "anchor_generator.scales to something that only running it would tell"),
        ({"scale": "[(1333, 800), (1000, 600)]"}, "MultiScaleFlipAug.img_scale"),
        ({"scale": "(0, 800)"}, "MultiScaleFlipAug.img_scale"),
        ({"norm": "mean=[1, 2], std=[1, 1, 1], to_rgb=True"}, "Normalize.mean to [1, 2]"),
        ({"norm": "mean=[1, 2, 3], std=[1, 0, 1], to_rgb=True"}, "Normalize.std to [1, 0, 1]"),
        ({"norm": "mean=[1e999, 2, 3], std=[1, 1, 1], to_rgb=True"}, "Normalize.mean"),
        ({"nms": "dict(type='soft_nms', iou_thr=0.5)"}, "test_cfg.rcnn.nms.type to 'soft_nms'"),
        ({"nms": "dict(type='nms', iou_thr=1.5)"}, "test_cfg.rcnn.nms.iou_thr to 1.5"),
        ({"detections": "-1"}, "test_cfg.rcnn.max_per_img to -1"),
        ({"detections": "10**9"}, "test_cfg.rcnn.max_per_img"),
        ({"score": "'high'"}, "test_cfg.rcnn.score_thr to 'high'"),
        ({"proposals": "0"}, "test_cfg.rpn.max_num to 0"),
        ({"rpn_nms": "nms_across_levels=True"}, None),
    ],
)
def test_settings_that_the_detector_has_not_are_refused_by_name(changes: dict[str, str], named: str | None) -> None:
    text = mmdetection_2(**changes)
    if named is None:
        text = mmdetection_2().replace("nms_across_levels=False", "nms_across_levels=True")
        named = "test_cfg.rpn.nms_across_levels to True"
    with pytest.raises(UserError) as error:
        taken(text)
    message = str(error.value)
    assert f"its configuration sets {named}" in message or named in message
    assert "supported: " in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("reg_class_agnostic=False", "reg_class_agnostic to True"),
        ("use_sigmoid=False", "use_sigmoid to True"),
        ("type='AnchorGenerator'", "type to 'LegacyAnchorGenerator'"),
        ("keep_ratio=True", "Resize.keep_ratio to False"),
        ("flip=False", "MultiScaleFlipAug.flip to True"),
        ("type='LoadImageFromFile'", "'CLAHE'"),
        ("mask_thr_binary=0.5", "mask_thr_binary to 0.45"),
        ("out_size=14", "out_size to 28"),
        ("sample_num=0", "sample_num to 2"),
    ],
)
def test_more_settings_are_refused(setting: str, named: str) -> None:
    name = setting.partition("=")[0]
    value = named.partition(" to ")[2] or named
    with pytest.raises(UserError, match=f"{named}.*supported: "):
        taken(mmdetection_2().replace(setting, f"{name}={value}", 1))


def test_mmdetection_3_is_understood() -> None:
    assert taken(mmdetection_3(detections="50")).box_head.detections == 50
    large = taken(mmdetection_3(resize="type='mmdet.Resize', scale=(2048, 1024), keep_ratio=True"))
    assert (large.preprocessing.short_side, large.preprocessing.long_side) == (1024, 2048)
    settings = parse_settings(mmdetection_3(order="bgr_to_rgb=False", std="[1, 2, 3]"))
    found = normalisation_of(settings)
    assert found is not None
    assert (found.bgr, found.mean, found.std) == (True, (103.53, 116.28, 123.675), (3, 2, 1))
    for resize in ("type='Resize', scale=(1333, 800)", "type='FixShapeResize', width=800", "type='Resize', scale=5"):
        with pytest.raises(UserError, match="supported: "):
            taken(mmdetection_3(resize=resize))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r50-coco", mmdetection_2()),
        ("r50-lvis", mmdetection_2(score="0.0001", detections="300")),
        ("r50-cityscapes", mmdetection_2(scale="(2048, 1024)")),
        ("mask_rcnn_r50_fpn", mmdetection_2()),
        (
            "point_rend_r50_caffe_fpn",
            mmdetection_2(norm=CAFFE, style="'caffe'").replace(
                "type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', out_size=14, sample_num=0),\n"
                "            out_channels=256, featmap_strides=[4, 8, 16, 32]",
                "type='GenericRoIExtractor', aggregation='concat', roi_layer=dict(type='SimpleRoIAlign', "
                "output_size=14), out_channels=256, featmap_strides=[4]",
            ),
        ),
        (
            "htc_r50_fpn",
            mmdetection_2(score="0.001").replace("reg_class_agnostic=False", "reg_class_agnostic=True"),
        ),
    ],
)
def test_official_checkpoints_with_their_configurations_are_as_those_without(name: str, text: str) -> None:
    recognised = recognise(outline(name))
    if isinstance(recognised.mask_head, HTCConfig):
        settings = parse_settings(text)
        head = settings["model"]["roi_head"]["bbox_head"]
        stds = [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]]
        settings["model"]["roi_head"]["bbox_head"] = [
            {**head, "bbox_coder": {**head["bbox_coder"], "target_stds": std}} for std in stds
        ]
        assert take_over(recognised, settings)[0] == recognised
        settings["model"]["roi_head"]["bbox_head"].pop()
        with pytest.raises(UserError, match="number of stages"):
            take_over(recognised, settings)
    else:
        assert taken(text, recognised) == recognised


def test_point_rends_settings_are_its_own() -> None:
    point = replace(ASSUMED, mask_head=PointRendConfig())
    with pytest.raises(UserError, match="mask_roi_extractor"):
        taken(mmdetection_2(), point)


@pytest.mark.parametrize("value", [torch.zeros(3), torch.zeros(()), object(), {}, [[]], b"x", 10**400, -1, "", True])
def test_settings_of_any_type_are_taken_or_refused(value: Any) -> None:
    """A configuration may be stored as an object instead of a text, and then its values may be of any type."""
    refused = 0
    for place in (["model"], ["model", "neck"], ["model", "neck", "num_outs"], ["test_cfg"], ["data"], ["img_norm_cfg"],
                  ["test_cfg", "rcnn", "score_thr"], ["test_cfg", "rcnn"], ["data", "test", "pipeline"],
                  ["model", "backbone", "style"], ["model", "backbone", "strides"]):  # fmt: skip
        settings = parse_settings(mmdetection_2())
        holder = settings
        for name in place[:-1]:
            holder = holder[name]
        holder[place[-1]] = value
        refused += refusal(partial(take_over, ASSUMED, settings)) is not None
    assert refused
