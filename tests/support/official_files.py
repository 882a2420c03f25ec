"""Small checkpoints as mmdetection saves them, and the configurations that they carry."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "official_keys"


def small_mask_rcnn(classes: int = 2) -> dict[str, Tensor]:
    """The state dict of a Mask R-CNN with one block a stage and a sixteenth of the channels."""
    random, state = np.random.default_rng(5), {}
    for key, shape in json.loads((GOLDEN / "mask_rcnn_r50_fpn.json").read_text()).items():
        if key.startswith("backbone.layer") and ".0." not in key:
            continue
        small = [size // 16 if size >= 64 and size not in (80, 81, 320) else size for size in shape]
        owners = {"fc_cls": classes + 1, "fc_reg": 4 * classes, "conv_logits": classes}
        small[:1] = next(([count] for name, count in owners.items() if name in key), small[:1])
        values = np.abs(random.normal(1, 0.1, small)) if "running_var" in key else random.normal(0, 0.05, small)
        counter = key.endswith("num_batches_tracked")
        state[key] = torch.tensor(7) if counter else torch.from_numpy(np.asarray(values, np.float32))
    return state


def outline(name: str) -> dict[str, Tensor]:
    """The state dict of an official checkpoint as tensors without memory."""
    keys = json.loads((GOLDEN / f"{name}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in keys.items()}


def mmdetection_2(**changes: str) -> str:
    """The configuration of Mask R-CNN as mmdetection 2 stores it, with values replaced."""
    values = {
        "style": "'pytorch'",
        "norm": "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True",
        "scale": "(1333, 800)",
        "scales": "[8]",
        "proposals": "1000",
        "rpn_nms": "nms_thr=0.7",
        "nms": "dict(type='nms', iou_thr=0.5)",
        "score": "0.05",
        "detections": "100",
        "stds": "[0.1, 0.1, 0.2, 0.2]",
        "neck": "num_outs=5",
        "backbone": "depth=50",
        "extractor": "out_channels=256",
        **changes,
    }
    return """model = dict(
    type='MaskRCNN',
    pretrained='torchvision://resnet50',
    backbone=dict(type='ResNet', num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
                  norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True, style={style}, {backbone}),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, {neck}),
    rpn_head=dict(
        type='RPNHead', in_channels=256, feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator', scales={scales}, ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', out_size=7, sample_num=0),
            featmap_strides=[4, 8, 16, 32], {extractor}),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=256, fc_out_channels=1024, roi_feat_size=7, num_classes=80,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.], target_stds={stds}),
            reg_class_agnostic=False,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        mask_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', out_size=14, sample_num=0),
            out_channels=256, featmap_strides=[4, 8, 16, 32]),
        mask_head=dict(
            type='FCNMaskHead', num_convs=4, in_channels=256, conv_out_channels=256, num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))))
train_cfg = dict(rpn=dict(allowed_border=-1), rpn_proposal=dict(nms_post=1000, max_num=1000), rcnn=dict(mask_size=28))
test_cfg = dict(
    rpn=dict(nms_across_levels=False, nms_pre=1000, nms_post={proposals}, max_num={proposals}, {rpn_nms},
             min_bbox_size=0),
    rcnn=dict(score_thr={score}, nms={nms}, max_per_img={detections}, mask_thr_binary=0.5))
dataset_type = 'CocoDataset'
img_norm_cfg = dict({norm})
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale={scale}, flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', {norm}),
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])
]
data = dict(samples_per_gpu=2, test=dict(type='CocoDataset', ann_file='x.json', pipeline=test_pipeline))
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
work_dir = './work_dirs/mask_rcnn'
gpu_ids = range(0, 8)
""".format(**values)


def mmdetection_3(**changes: str) -> str:
    """The configuration of Mask R-CNN as mmdetection 3 stores it, with values replaced."""
    values = {
        "order": "bgr_to_rgb=True",
        "std": "[58.395, 57.12, 57.375]",
        "detections": "100",
        "resize": "type='Resize', scale=(1333, 800), keep_ratio=True",
        **changes,
    }
    return """model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std={std}, {order},
                           pad_mask=True, pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
                  norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True, style='pytorch',
                  init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img={detections},
                  mask_thr_binary=0.5)))
test_dataloader = dict(batch_size=1, dataset=dict(type='CocoDataset', pipeline=[
    dict(type='LoadImageFromFile', backend_args=None),
    dict({resize}),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path'))]))
default_scope = 'mmdet'
""".format(**values)


def save(path: Path, state: dict[str, Any], **content: Any) -> Path:
    """Write a checkpoint with a state dict and more, and return its path."""
    torch.save({"state_dict": state, **content}, path)
    return path
