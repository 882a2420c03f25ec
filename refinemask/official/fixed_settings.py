"""Settings of official configurations of which this project has one value, and what is said of any other."""

from typing import Any

from refinemask.config import HTCConfig, MaskHeadConfig, PointRendConfig
from refinemask.files import UserError
from refinemask.json_files import checked, short
from refinemask.modeling.anchors import STRIDES
from refinemask.official.other_models import printable
from refinemask.official.stored_config import Unknown

_EXTRACTOR: dict[str, tuple[Any, ...]] = {
    "roi_layer.sample_num": (0,),
    "roi_layer.sampling_ratio": (0,),
    "roi_layer.aligned": (True,),
    "roi_layer.pool_mode": ("avg",),
    "finest_scale": (56,),
}
# What the detector computes, of all that may be set otherwise without another key or shape of a weight. A setting that
# is absent is as mmdetection has it, which is always the first of these values.
_FIXED: dict[str, tuple[Any, ...]] = {
    "model.backbone.type": ("ResNet",),
    "model.backbone.num_stages": (4,),
    "model.backbone.strides": ([1, 2, 2, 2],),
    "model.backbone.dilations": ([1, 1, 1, 1],),
    "model.backbone.out_indices": ([0, 1, 2, 3],),
    "model.backbone.deep_stem": (False,),
    "model.backbone.avg_down": (False,),
    "model.backbone.dcn": (None,),
    "model.backbone.gcb": (None,),
    "model.backbone.gen_attention": (None,),
    "model.backbone.plugins": (None,),
    "model.backbone.conv_cfg.type": ("Conv2d", "Conv"),
    "model.backbone.norm_cfg.type": ("BN", "BN2d", "SyncBN", "MMSyncBN", "NaiveSyncBN"),
    "model.backbone.norm_cfg.eps": (1e-5,),
    "model.neck.type": ("FPN",),
    "model.neck.num_outs": (5,),
    "model.neck.start_level": (0,),
    "model.neck.end_level": (-1, 3),
    "model.neck.add_extra_convs": (False,),
    "model.neck.conv_cfg.type": ("Conv2d", "Conv"),
    "model.neck.norm_cfg": (None,),
    "model.neck.act_cfg": (None,),
    "model.neck.upsample_cfg.mode": ("nearest",),
    "model.rpn_head.type": ("RPNHead",),
    "model.rpn_head.num_convs": (1,),
    "model.rpn_head.loss_cls.use_sigmoid": (True,),
    "model.rpn_head.anchor_generator.type": ("AnchorGenerator",),
    "model.rpn_head.anchor_generator.strides": ([*STRIDES],),
    "model.rpn_head.anchor_generator.base_sizes": (None, [*STRIDES]),
    "model.rpn_head.anchor_generator.center_offset": (0,),
    "model.rpn_head.anchor_generator.centers": (None,),
    "model.rpn_head.anchor_generator.octave_base_scale": (None,),
    "model.rpn_head.anchor_generator.scales_per_octave": (None,),
    "model.rpn_head.bbox_coder.type": ("DeltaXYWHBBoxCoder",),
    "model.rpn_head.bbox_coder.target_means": ([0, 0, 0, 0],),
    "model.rpn_head.bbox_coder.target_stds": ([1, 1, 1, 1],),
    **{f"model.roi_head.bbox_roi_extractor.{name}": values for name, values in _EXTRACTOR.items()},
    **{f"model.roi_head.mask_roi_extractor.{name}": values for name, values in _EXTRACTOR.items()},
    "model.roi_head.bbox_roi_extractor.type": ("SingleRoIExtractor",),
    "model.roi_head.bbox_roi_extractor.featmap_strides": ([*STRIDES[:4]],),
    "model.roi_head.bbox_roi_extractor.roi_layer.type": ("RoIAlign",),
    "model.roi_head.bbox_roi_extractor.roi_layer.out_size": (7,),
    "model.roi_head.bbox_roi_extractor.roi_layer.output_size": (7,),
    "model.roi_head.mask_roi_extractor.roi_layer.out_size": (14,),
    "model.roi_head.mask_roi_extractor.roi_layer.output_size": (14,),
    "model.roi_head.bbox_head.bbox_coder.type": ("DeltaXYWHBBoxCoder",),
    "model.roi_head.bbox_head.bbox_coder.target_means": ([0, 0, 0, 0],),
    "model.roi_head.bbox_head.loss_cls.type": ("CrossEntropyLoss",),
    "model.roi_head.bbox_head.loss_cls.use_sigmoid": (False,),
    "model.roi_head.bbox_head.with_avg_pool": (False,),
    "model.roi_head.bbox_head.cls_predictor_cfg.type": ("Linear",),
    "model.roi_head.bbox_head.reg_predictor_cfg.type": ("Linear",),
    "model.roi_head.mask_head.class_agnostic": (False,),
    "model.roi_head.mask_head.predictor_cfg.type": ("Conv", "Conv2d"),
    "model.roi_head.mask_head.dilations": ([1, 3, 5],),
    "model.roi_head.interleaved": (True,),
    "model.roi_head.mask_info_flow": (True,),
    "test_cfg.rpn.nms_across_levels": (False,),
    "test_cfg.rpn.min_bbox_size": (0,),
    "test_cfg.rpn.nms.type": ("nms",),
    "test_cfg.rcnn.nms.type": ("nms",),
    "test_cfg.rcnn.nms.class_agnostic": (False,),
    "test_cfg.rcnn.mask_thr_binary": (0.5,),
    "test_cfg.rcnn.subdivision_steps": (5,),
    "test_cfg.rcnn.subdivision_num_points": (784,),
    "test_cfg.rcnn.scale_factor": (2,),
}


def fixed_settings(mask_head: MaskHeadConfig) -> dict[str, tuple[Any, ...]]:
    """The supported values of the settings at paths such as ``model.neck.type``, for a model with a mask head."""
    extractor, points = "model.roi_head.mask_roi_extractor", isinstance(mask_head, PointRendConfig)
    return {
        **_FIXED,
        "model.roi_head.bbox_head.reg_class_agnostic": (isinstance(mask_head, HTCConfig),),
        f"{extractor}.type": ("GenericRoIExtractor" if points else "SingleRoIExtractor",),
        f"{extractor}.featmap_strides": ([*STRIDES[:1]] if points else [*STRIDES[:4]],),
        f"{extractor}.roi_layer.type": ("SimpleRoIAlign" if points else "RoIAlign",),
    }


def value_of(where: str, value: Any, kind: Any) -> Any:
    """The value of a setting as a ``kind``.

    Raises:
        UserError: it is of another kind, or out of its range.
    """
    try:
        return checked(value, kind)
    except ValueError as error:
        expected = str(error).partition(", found")[0].removeprefix("expected ")
        raise unsupported(where, value, expected) from error


def require(where: str, value: Any, supported: tuple[Any, ...]) -> None:
    """Raise a UserError unless a setting is absent, or has one of the supported values."""
    # A name may come with its module, as in ``mmdet.FPN``.
    plain = value.rpartition(".")[2] if isinstance(value, str) else value
    plain = list(plain) if isinstance(plain, tuple) else plain
    if plain is None or any(_same(plain, each) for each in supported):
        return
    raise unsupported(where, value, " or ".join(map(str, supported)))


def _same(value: Any, supported: Any) -> bool:
    # Values of other types, such as tensors, may not be comparable at all.
    if isinstance(value, list) and isinstance(supported, list):
        return len(value) == len(supported) and all(map(_same, value, supported))
    plain = bool | int | float | str
    return isinstance(value, plain) and isinstance(supported, plain) and value == supported


def unsupported(where: str, value: Any, supported: Any) -> UserError:
    """The error of a setting with a value that this project does not have."""
    found = f"something that only running it would tell ({printable(value.text)})" if isinstance(value, Unknown) else ""
    return UserError(
        f"its configuration sets {printable(where)} to {found or short(value)}, which this project does not "
        f"have; supported: {supported}"
    )
