"""What an official checkpoint's own configuration says of the model: taken over, or refused if it cannot be."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, TypeVar

from msgspec import Meta

from refinemask.config import Boxes, Fraction, HTCConfig, Level, ModelConfig, Preprocessing, Scale, Side
from refinemask.json_files import short
from refinemask.modeling.anchors import STRIDES
from refinemask.official.fixed_settings import fixed_settings, require, unsupported, value_of
from refinemask.official.stored_config import Unknown, lookup

T = TypeVar("T")
Detected = Annotated[int, Meta(ge=1, le=3840)]
Ratios = Annotated[tuple[Scale, ...], Meta(min_length=1, max_length=100)]
Colours, PositiveColours = tuple[Level, Level, Level], tuple[Scale, Scale, Scale]
Deltas = tuple[Scale, Scale, Scale, Scale]

# Where a test pipeline may be, the one that was used first.
_PIPELINES = (
    "data.test.pipeline",
    "data.test.dataset.pipeline",
    "test_dataloader.dataset.pipeline",
    "test_dataloader.dataset.dataset.pipeline",
    "test_pipeline",
    "data.val.pipeline",
    "val_dataloader.dataset.pipeline",
)
_TEST_TIME_AUGMENTATION = "MultiScaleFlipAug"
# Transforms that leave a test image as it is, or that are read below.
_TRANSFORMS = (
    _TEST_TIME_AUGMENTATION, "Collect", "DefaultFormatBundle", "ImageToTensor", "LoadAnnotations", "LoadImageFromFile",
    "Normalize", "PackDetInputs", "Pad", "RandomFlip", "Resize", "ToTensor", "WrapFieldsToLists",
)  # fmt: skip
_FIXED_TRANSFORMS: dict[str, tuple[Any, ...]] = {
    "flip": (False,),
    "scale_factor": (None,),
    "pad_val": (0, [0, 0, 0]),
    "interpolation": ("bilinear",),
    "backend": ("cv2",),
    "color_type": ("color",),
}


class Normalisation(NamedTuple):
    """How an image's colours become the network's input."""

    bgr: bool
    """Whether the network reads blue, green, red."""
    mean: tuple[float, float, float]
    """Mean of red, green and blue."""
    std: tuple[float, float, float]
    """Standard deviation of red, green and blue."""


def take_over(config: ModelConfig, settings: Mapping[str, Any]) -> tuple[ModelConfig, str]:
    """``config`` with what an official configuration says, and a line that tells a user what that is.

    Args:
        config: what is assumed where the official configuration says nothing.
        settings: what :func:`refinemask.official.stored_config.stored_settings` found.

    Raises:
        UserError: a setting is none that the detector has; the error names it, its value and what is supported.
    """
    settings = _with_test_settings(settings)
    for path, values in fixed_settings(config.mask_head).items():
        for where, value in lookup(settings, path):
            require(where, value, values)
    normalisation, size = normalisation_of(settings), _test_size(settings)
    preprocessing = config.preprocessing
    if normalisation:
        preprocessing = replace(preprocessing, mean=normalisation.mean, std=normalisation.std)
    if size:
        preprocessing = replace(preprocessing, short_side=min(size), long_side=max(size))
    taken = replace(config, preprocessing=preprocessing)
    taken = _with_deltas(_with_thresholds(_with_anchors(taken, settings), settings), settings)
    if isinstance(settings.get("model"), dict) and "backbone" in settings["model"]:
        style = _take(settings, "model.backbone.style", str, "pytorch")
        require("model.backbone.style", style, ("pytorch", "caffe"))
        taken = replace(taken, backbone=replace(taken.backbone, stride_in_1x1=style == "caffe"))
    detections = any(lookup(settings, "test_cfg.rcnn.max_per_img"))
    return taken, _summary(config, taken, normalisation, bool(size), detections)


def _with_test_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with those of the test where the first versions of mmdetection 2 had them."""
    model = settings.get("model")
    inner = model.get("test_cfg") if isinstance(model, dict) else None
    return {**settings, "test_cfg": settings.get("test_cfg") if inner is None else inner}


def normalisation_of(settings: Mapping[str, Any]) -> Normalisation | None:
    """The normalisation that a configuration states; None if it states none.

    Raises:
        UserError: its numbers are no mean and standard deviation.
    """
    places = [("Normalize", each) for each in _transforms(settings) if _kind(each) == "Normalize"]
    places += [("img_norm_cfg", value) for _, value in lookup(settings, "img_norm_cfg")]
    preprocessor = [("model.data_preprocessor", value) for _, value in lookup(settings, "model.data_preprocessor")]
    for where, found in preprocessor + places:
        if isinstance(found, Unknown):
            raise unsupported(where, found, "mean and std")
        if not isinstance(found, dict) or "mean" not in found or "std" not in found:
            continue
        mean = value_of(f"{where}.mean", found["mean"], Colours)
        std = value_of(f"{where}.std", found["std"], PositiveColours)
        if preprocessor:
            require(f"{where}.pad_value", found.get("pad_value", 0), (0,))
            swapped = [value_of(f"{where}.{way}", found.get(way, False), bool) for way in ("bgr_to_rgb", "rgb_to_bgr")]
            bgr = not any(swapped)
        else:
            bgr = not value_of(f"{where}.to_rgb", found.get("to_rgb", True), bool)
        return Normalisation(bgr, mean[::-1] if bgr else mean, std[::-1] if bgr else std)
    return None


def _transforms(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The transforms of the test pipeline, those within a test-time augmentation too."""
    pipelines = (value for path in _PIPELINES for _, value in lookup(settings, path))
    pipeline = next((value for value in pipelines if value is not None), ())
    if not isinstance(pipeline, list | tuple):
        raise unsupported("its test pipeline", pipeline, "a list of transforms")
    for transform in pipeline:
        if isinstance(transform, dict):
            yield transform
            inner = transform.get("transforms")
            if _kind(transform) == _TEST_TIME_AUGMENTATION and isinstance(inner, list | tuple):
                yield from (each for each in inner if isinstance(each, dict))


def _kind(transform: Mapping[str, Any]) -> str:
    kind = transform.get("type")
    return kind.rpartition(".")[2] if isinstance(kind, str) else "an object"


def _test_size(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """Length of both sides that test images are made to fit; None if the configuration does not say.

    Raises:
        UserError: the test pipeline does what the detector's preprocessing does not.
    """
    size = None
    for transform in _transforms(settings):
        kind = _kind(transform)
        require("the type of a transform in its test pipeline", kind, _TRANSFORMS)
        for name, values in _FIXED_TRANSFORMS.items():
            if name in transform and not (name == "flip" and kind == "RandomFlip"):
                value = transform[name]
                require(f"{kind}.{name}", value.get("img", 0) if isinstance(value, dict) else value, values)
        if kind == "Resize":
            # mmdetection 3 calls the size another name, and keeps the ratio only if it is told to.
            require("Resize.keep_ratio", transform.get("keep_ratio", "scale" not in transform), (True,))
        if kind in ("Resize", _TEST_TIME_AUGMENTATION):
            for name in ("img_scale", "scale"):
                if transform.get(name) is not None:
                    size = _one_size(f"{kind}.{name}", transform[name])
    return size


def _one_size(where: str, value: Any) -> tuple[int, int]:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return value_of(where, value, tuple[Side, Side])


def _with_anchors(config: ModelConfig, settings: Mapping[str, Any]) -> ModelConfig:
    anchors, rpn = "model.rpn_head.anchor_generator", config.rpn
    scales = _take(settings, f"{anchors}.scales", Ratios, (rpn.anchor_scale,))
    if len(scales) > 1:
        raise unsupported(f"{anchors}.scales", list(scales), "one scale per level")
    candidates = _take(settings, "test_cfg.rpn.nms_pre", Boxes, rpn.candidates_per_level)
    proposals = rpn.proposals
    # The later name wins: the earliest versions kept ``nms_post`` boxes, whatever ``max_num`` was.
    for name in ("max_num", "nms_post", "max_per_img"):
        proposals = _take(settings, f"test_cfg.rpn.{name}", Boxes, proposals)
    rpn = replace(
        rpn,
        anchor_scale=scales[0],
        anchor_ratios=_take(settings, f"{anchors}.ratios", Ratios, rpn.anchor_ratios),
        candidates_per_level=candidates,
        proposals=min(proposals, len(STRIDES) * candidates),
        nms_iou=_nms_iou(settings, "test_cfg.rpn", rpn.nms_iou),
    )
    return replace(config, rpn=rpn)


def _with_thresholds(config: ModelConfig, settings: Mapping[str, Any]) -> ModelConfig:
    head = config.box_head
    head = replace(
        head,
        score_threshold=_take(settings, "test_cfg.rcnn.score_thr", Fraction, head.score_threshold),
        nms_iou=_nms_iou(settings, "test_cfg.rcnn", head.nms_iou),
        detections=_take(settings, "test_cfg.rcnn.max_per_img", Detected, head.detections),
    )
    return replace(config, box_head=head)


def _nms_iou(settings: Mapping[str, Any], place: str, assumed: float) -> float:
    for name in ("nms_thr", "nms.iou_thr", "nms.iou_threshold"):
        assumed = _take(settings, f"{place}.{name}", Fraction, assumed)
    return assumed


def _with_deltas(config: ModelConfig, settings: Mapping[str, Any]) -> ModelConfig:
    """``config`` with the standard deviations of box deltas, which a cascade has for each stage."""
    stds = [
        value_of(where, value, Deltas)
        for where, value in lookup(settings, "model.roi_head.bbox_head.bbox_coder.target_stds")
    ]
    if isinstance(config.mask_head, HTCConfig):
        stages = len(config.mask_head.delta_stds)
        if stds and len(stds) != stages:
            raise unsupported("the number of stages in model.roi_head.bbox_head", len(stds), stages)
        return replace(config, mask_head=replace(config.mask_head, delta_stds=tuple(stds))) if stds else config
    return replace(config, box_head=replace(config.box_head, delta_std=stds[-1])) if stds else config


def _take(settings: Mapping[str, Any], path: str, kind: Any, assumed: T) -> T:
    """The value at a path, or the assumed one if there is none."""
    for where, value in lookup(settings, path):
        if value is not None:
            assumed = value_of(where, value, kind)
    return assumed


def _summary(
    before: ModelConfig, after: ModelConfig, normalisation: Normalisation | None, size: bool, detections: bool
) -> str:
    """What was taken from a configuration, and what was not in it."""
    taken, assumed = [], []
    colours = _colours(after.preprocessing)
    if normalisation:
        taken += ["BGR" if normalisation.bgr else "RGB", *colours]
    else:
        assumed += ["colours", *colours]
    taken += ["caffe strides"] if after.backbone.stride_in_1x1 else []
    sides = f"{after.preprocessing.long_side}x{after.preprocessing.short_side}"
    (taken if size else assumed).append(sides)
    (taken if detections else assumed).append(f"{after.box_head.detections} detections")
    taken += _differences(before, after)
    rest = f"; not in it, and so as in the official ones: {', '.join(assumed)}" if assumed else ""
    return f"from its configuration: {', '.join(taken) or 'nothing'}{rest}"


def _colours(preprocessing: Preprocessing) -> list[str]:
    """Mean and standard deviation, if they are not those of ImageNet."""
    usual, words = Preprocessing(), []
    for name in ("mean", "std"):
        values = getattr(preprocessing, name)
        if values != getattr(usual, name):
            words.append(
                f"{name} " + " ".join(f"{value:g}" for value in (values[:1] if len({*values}) == 1 else values))
            )
    return words


def _differences(before: ModelConfig, after: ModelConfig) -> list[str]:
    """The other settings that are not as they were assumed to be."""
    pairs = {
        "anchor scale": (before.rpn.anchor_scale, after.rpn.anchor_scale),
        "anchor ratios": (before.rpn.anchor_ratios, after.rpn.anchor_ratios),
        "candidates per level": (before.rpn.candidates_per_level, after.rpn.candidates_per_level),
        "proposals": (before.rpn.proposals, after.rpn.proposals),
        "NMS of proposals at IoU": (before.rpn.nms_iou, after.rpn.nms_iou),
        "NMS at IoU": (before.box_head.nms_iou, after.box_head.nms_iou),
        "score threshold": (before.box_head.score_threshold, after.box_head.score_threshold),
        "standard deviations of box deltas": (before.box_head.delta_std, after.box_head.delta_std),
    }
    words = [f"{name} {short(new)}" for name, (old, new) in pairs.items() if old != new]
    return words + (["standard deviations of each stage"] if before.mask_head != after.mask_head else [])
